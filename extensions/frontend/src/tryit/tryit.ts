// The entry of an endpoint's page: extensions/modelyard_server/page.py puts it and its style into one document.
import { h, render } from "preact";
import { Page } from "./page";

const place = document.getElementById("page");
if (place) {
  place.replaceChildren();
  render(h(Page, {}), place);
}
