// TrainPanel.
import { type Model, useTrait } from "../model";
import { panel } from "../mount";
import { Box } from "../ui";

function Train({ model }: { model: Model }) {
  const view = useTrait<{ title?: string }>(model, "view");
  return (
    <Box title={view.title ?? "Training"} testid="modelyard-train">
      <p />
    </Box>
  );
}

export default panel(Train);
