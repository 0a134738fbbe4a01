/** The secrets that a saga's endpoints name: they have to be there before anything joins. */
import type { Caller } from "../base/caller.ts";
import { violationsError } from "../base/errors.ts";
import type { JsonObject } from "../base/json.ts";
import { secretNamesOf } from "../domain/check-saga-steps.ts";
import type { RpcParts } from "./parts.ts";

/** Throws SECRET_NOT_FOUND with the place of the step. */
export async function checkSagaSecrets(
  parts: Pick<RpcParts, "secrets" | "stepTypesOf">,
  caller: Caller,
  steps: readonly { readonly step: JsonObject; readonly selfDriven: boolean; readonly at: string }[],
): Promise<void> {
  const stepTypes = await parts.stepTypesOf(caller.tenantId);
  const named = steps.flatMap(({ step, selfDriven, at }) => secretNamesOf(step, selfDriven, stepTypes).map((name) => ({ name, at })));
  if (named.length === 0) return;
  const known = await parts.secrets.known(caller.tenantId, [...new Set(named.map(({ name }) => name))]);
  const violations = named.flatMap(({ name, at }) =>
    !known.has(name)
      ? [{ field: at, reason: "SECRET_NOT_FOUND" as const, description: `there is no secret "${name}"; set it with SecretService.SetSecret` }]
      : [],
  );
  if (violations.length > 0) throw violationsError(violations);
}
