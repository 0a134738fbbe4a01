/** Step types that hold steps. The domain carries them out itself, so they have no handler. */
import { isJsonObject, type Json } from "../base/json.ts";
import { limits } from "../base/limits.ts";
import { scopeVariables } from "./definition.ts";
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
    if (cases.length === 0) report("cases", "VALIDATION_FAILED", "a conditional needs at least one case");
    duplicateNames(cases, "cases", "case", report);
    cases.forEach((item, index) => {
      if (isJsonObject(item) && item["name"] === "else")
        report(`cases[${index}].name`, "VALIDATION_FAILED", '"else" names what runs when no case holds; choose another name');
    });
  },
};

const parallel: StepTypeSpec = {
  type: "parallel",
  nature: "block",
  fields: {},
  ...unbounded,
  check: (config, report) => {
    const branches = Array.isArray(config["branches"]) ? config["branches"] : [];
    if (branches.length === 0) report("branches", "VALIDATION_FAILED", "a parallel needs at least one branch");
    if (branches.length > limits.branchesPerParallelMax) report("branches", "LIMIT_EXCEEDED", `at most ${limits.branchesPerParallelMax} branches`);
    duplicateNames(branches, "branches", "branch", report);
  },
};

const forEach: StepTypeSpec = {
  type: "for_each",
  nature: "block",
  fields: {},
  ...unbounded,
  check: (config, report) => {
    if (typeof config["items"] !== "string" || config["items"] === "")
      report("items", "VALIDATION_FAILED", "a for_each needs an expression that gives its list");
    const variable = config["item_variable"];
    if (typeof variable === "string" && [...scopeVariables, "item_index", "error", "original", "result"].includes(variable)) {
      report("item_variable", "VALIDATION_FAILED", `"${variable}" is a variable already; choose another name`);
    }
  },
};

type Reporter = Parameters<NonNullable<StepTypeSpec["check"]>>[1];

function duplicateNames(items: readonly Json[], field: string, what: string, report: Reporter): void {
  const names = new Set<string>();
  items.forEach((item, index) => {
    const name = isJsonObject(item) && typeof item["name"] === "string" ? item["name"] : "";
    if (name !== "" && names.has(name)) report(`${field}[${index}].name`, "STEP_NAME_DUPLICATE", `${what} "${name}" exists already`);
    names.add(name);
  });
}

export const blockTypes: readonly StepTypeSpec[] = [conditional, parallel, forEach];
