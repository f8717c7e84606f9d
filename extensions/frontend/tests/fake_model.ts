// A model as anywidget gives it, with a kernel that the test plays.
import type { Model } from "../src/model";

type Callback = (...given: never[]) => void;

export class FakeModel implements Model {
  sent: { action: string; id: string; given: Record<string, unknown> }[] = [];
  private traits: Record<string, unknown>;
  private callbacks = new Map<string, Set<Callback>>();

  constructor(traits: Record<string, unknown>) {
    this.traits = traits;
  }
  get(name: string) {
    return this.traits[name];
  }
  on(event: string, callback: Callback) {
    const known = this.callbacks.get(event) ?? new Set();
    this.callbacks.set(event, known.add(callback));
  }
  off(event: string, callback?: Callback | null) {
    if (callback) this.callbacks.get(event)?.delete(callback);
    else this.callbacks.delete(event);
  }
  send(content: unknown) {
    this.sent.push(content as FakeModel["sent"][number]);
  }
  /** The kernel changes traits. */
  set(traits: Record<string, unknown>) {
    this.traits = { ...this.traits, ...traits };
    for (const name of Object.keys(traits)) this.emit(`change:${name}`);
  }
  /** The kernel answers the last action. */
  answer(content: object) {
    const last = this.sent[this.sent.length - 1];
    this.emit("msg:custom", { reply: last?.id, ...content });
  }
  /** The kernel answers the last action of that name. */
  reply(action: string, content: object) {
    const last = this.sent.filter((message) => message.action === action).pop();
    this.emit("msg:custom", { reply: last?.id, ...content });
  }
  emit(event: string, ...given: unknown[]) {
    for (const callback of [...(this.callbacks.get(event) ?? [])]) (callback as (...g: unknown[]) => void)(...given);
  }
}
