/** Step types that hold steps. The domain carries them out itself, so they have no handler. */
import type { StepTypeSpec } from "./step-type.ts";

/** A block takes as long as what it holds. */
const unbounded = { startToCloseMs: 366 * 86_400_000, startToCloseMsMax: 366 * 86_400_000 };

const conditional: StepTypeSpec = {
  type: "conditional",
  nature: "block",
  fields: {},
  ...unbounded,
  check: (config, report) => {
    const cases = Array.isArray(config["cases"]) ? config["cases"] : [];
    const names = new Set<string>();
    if (cases.length === 0) report("cases", "VALIDATION_FAILED", "a conditional needs at least one case");
    cases.forEach((item, index) => {
      const name = typeof item === "object" && item !== null && "name" in item ? String(item["name"]) : "";
      if (name === "else") report(`cases[${index}].name`, "VALIDATION_FAILED", '"else" names what runs when no case holds; choose another name');
      if (name !== "" && names.has(name)) report(`cases[${index}].name`, "STEP_NAME_DUPLICATE", `case "${name}" exists already`);
      names.add(name);
    });
  },
};

export const blockTypes: readonly StepTypeSpec[] = [conditional];
