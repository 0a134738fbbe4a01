/** What the saga of a definition would do, from the definition alone. */
import { create } from "@bufbuild/protobuf";
import { type SagaPlan, SagaPlanSchema } from "#gen/pyairtable/workflow/v1/definition_report_pb.js";
import type { Definition } from "../../domain/definition.ts";
import { compensationKindWords } from "./enums.ts";

export function sagaPlanOf(definition: Definition): SagaPlan {
  const steps = [...definition.stepsByName.values()].filter((step) => step.nature !== "block");
  const undone = steps.filter((step) => step.compensation?.step !== undefined);
  return create(SagaPlanSchema, {
    steps: steps.map((step) => ({
      step: step.name,
      ...(step.kind === undefined ? {} : { kind: compensationKindWords.valueOf(step.kind) }),
      effect: step.nature === "effect",
      compensationStep: step.compensation?.step?.type ?? "",
    })),
    pivot: steps.find((step) => step.kind === "pivot")?.name ?? "",
    undoOrder: undone.map((step) => step.name).reverse(),
    standingEffects: steps.filter((step) => step.nature === "effect" && step.kind === undefined).map((step) => step.name),
  });
}
