/** Step types as a definition is checked by when it is saved: literal addresses are judged by what its tenant may reach. */
import type { StepTypes } from "../../domain/step-type.ts";
import { refusesOrigin } from "../grpc-client/create-grpc-egress.ts";
import { withUrlCheck } from "./check-urls.ts";
import { type EgressRules, refusesUrl } from "./egress-rules.ts";
import type { RulesOf } from "./tenant-rules.ts";

export function createSavedStepTypes(stepTypes: StepTypes, rulesOf: RulesOf): (tenantId: string) => Promise<StepTypes> {
  const made = new WeakMap<EgressRules, StepTypes>();
  return async (tenantId) => {
    const { rules } = await rulesOf(tenantId);
    const known = made.get(rules);
    if (known) return known;
    const judged = new Map(
      [...stepTypes].map(([name, type]) => {
        const refuses = name === "grpc_call" ? refusesOrigin : refusesUrl;
        return [name, withUrlCheck(type, (url) => refuses(rules, url))];
      }),
    );
    made.set(rules, judged);
    return judged;
  };
}
