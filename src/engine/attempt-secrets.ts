/** From a slot to the values that an attempt sends: by the revision's bindings, read when they are asked for and masked from then on. */
import { AppError } from "../base/errors.ts";
import type { Mask } from "../base/mask.ts";
import { fail, ok, type Result } from "../base/result.ts";
import type { CompiledRevision } from "../domain/definition.ts";
import { type Failure, failure } from "../domain/failure.ts";
import type { AttemptSecrets } from "../steps/step-handler.ts";

/** Where secrets are kept. */
export interface SecretSource {
  /** The values that are valid now, the current one first; undefined: no secret of that name. @throws AppError STORAGE_UNAVAILABLE */
  read(tenantId: string, name: string): Promise<readonly string[] | undefined>;
}

/** For whoever keeps none: every slot is empty. */
export const noSecrets: SecretSource = { read: async () => undefined };

type Bound = Pick<CompiledRevision, "secretBindings"> & { readonly definition: Pick<CompiledRevision["definition"], "secretSlots"> };

export function attemptSecrets(source: SecretSource, mask: Mask, tenantId: string, revision: Bound): AttemptSecrets {
  const { secretBindings = {}, definition } = revision;

  async function resolveAll(slot: string): Promise<Result<readonly string[], Failure>> {
    const name = Object.hasOwn(secretBindings, slot) ? (secretBindings[slot] as string) : slot;
    try {
      const values = await source.read(tenantId, name);
      for (const value of values ?? []) mask.conceal(value);
      if (values !== undefined || definition.secretSlots.get(slot)?.optional === true) return ok(values ?? []);
      return fail(failure("SECRET.MISSING", `there is no secret "${name}" for slot "${slot}"; set it with SecretService.SetSecret and retry`));
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      // A row that was changed by hand does not open tomorrow either; the store has told the operator.
      if (error.reason === "INTERNAL_BUG") return fail(failure("SECRET.INVALID", `the secret "${name}" does not open; set it again`));
      return fail(failure("NETWORK", `the secret "${name}" cannot be read now; nothing was sent`));
    }
  }

  return {
    resolveAll,
    async resolve(slot) {
      const values = await resolveAll(slot);
      return values.ok ? ok(values.value[0]) : values;
    },
    conceal: (text) => mask.conceal(text),
    mask: (text) => mask.text(text),
  };
}
