/** SagaCoordinationService: what operators do to several sagas at once. */
import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  ReplaceParticipantResponseSchema,
  RetrySagaResponseSchema,
  type SagaCoordinationService,
} from "#gen/pyairtable/workflow/v1/saga_coordination_service_pb.js";
import type { Caller } from "../base/caller.ts";
import { AppError, violationsError } from "../base/errors.ts";
import type { Json } from "../base/json.ts";
import type { ControlCommand } from "../domain/control-command.ts";
import { addressesOf } from "../domain/saga-address.ts";
import type { ExecutionFilter } from "../store/execution-repository.ts";
import { callerOf } from "./interceptors/call.ts";
import type { RpcParts } from "./parts.ts";
import { commandSaga, control, loadSaga, resolveSagaId } from "./saga-parts.ts";
import { sagaFilterOf } from "./wire/list-filters.ts";

type SagaOperateRpcs = Pick<ServiceImpl<typeof SagaCoordinationService>, "retrySaga" | "replaceParticipant">;

/** Sagas of one call; the contract's limit. */
const sagasMax = 1_000;
/** Commands under way at once. */
const atOnceMax = 16;

export function sagaOperateRpcs(parts: RpcParts): SagaOperateRpcs {
  return {
    async retrySaga(request, context) {
      const caller = callerOf(context);
      const command = { kind: "retry_saga" as const, actor: caller.actor, reason: request.reason };
      if (request.target.case !== "filter") {
        const { loaded } = await commandSaga(parts, caller, { sagaId: request.target.value ?? "", validateOnly: request.validateOnly }, command);
        return create(RetrySagaResponseSchema, { matchedCount: 1n, sagaIds: request.validateOnly ? [] : [loaded.state.executionId] });
      }
      const asked = sagaFilterOf(request.target.value);
      const filter = { ...asked, sagaStates: (asked.sagaStates ?? ["stuck"]).filter((state) => state === "stuck") };
      if (request.validateOnly) return create(RetrySagaResponseSchema, { matchedCount: BigInt(await parts.executions.countExecutions(caller, filter)) });
      const { count, ids } = await planned(caller, async () => ({
        count: await parts.executions.countExecutions(caller, filter),
        ids: await idsOf(parts, caller, filter),
      }));
      return create(RetrySagaResponseSchema, { matchedCount: BigInt(count), sagaIds: await commandAll(parts, caller, ids, command) });
    },

    async replaceParticipant(request, context) {
      const caller = callerOf(context);
      const { fromAddress: from, toAddress: to, reason, validateOnly } = request;
      checkAddresses(from, to);
      const command = { kind: "replace_participant" as const, actor: caller.actor, reason, from, to };
      const one = request.target.case === "sagaId" ? request.target.value : undefined;
      // Counted before: afterwards nobody is at the old address any more.
      const { ids, counts } = await planned(caller, async () => {
        const ids = one === undefined ? await idsOf(parts, caller, { participant: from, open: true }) : [await resolveSagaId(parts, caller, one)];
        const stepsOf = async (id: string) => (await loadSaga(parts, caller, id)).state.enlisted.filter(({ step }) => addressesOf(step).includes(from)).length;
        return { ids, counts: await inPortions(ids, stepsOf) };
      });
      if (!validateOnly && request.target.case === "sagaId") await control(parts, caller, ids[0] as string, command);
      else if (!validateOnly) await commandAll(parts, caller, ids, command);
      return create(ReplaceParticipantResponseSchema, {
        sagaCount: BigInt(counts.filter((count) => count > 0).length),
        stepCount: BigInt(counts.reduce((sum, count) => sum + count, 0)),
      });
    },
  };
}

/** A repeat of the call, also behind a crash, has the same sagas before it: those it has told already know the call. */
async function planned<Plan extends Json>({ change }: Caller, make: () => Promise<Plan>): Promise<Plan> {
  return await (change ? change.plan(make) : make());
}

async function idsOf(parts: RpcParts, caller: Caller, filter: ExecutionFilter): Promise<string[]> {
  return (await parts.executions.listExecutions(caller, { pageSize: sagasMax, filter })).items.map(({ id }) => id);
}

/** Those that took it; one that went on or ended meanwhile is left out. */
async function commandAll(parts: RpcParts, caller: Caller, ids: readonly string[], command: ControlCommand): Promise<string[]> {
  const taken = await inPortions(ids, async (id) => {
    try {
      await control(parts, caller, id, command);
      return id;
    } catch (error) {
      if (error instanceof AppError && error.code !== "UNAVAILABLE" && error.code !== "INTERNAL") return undefined;
      throw error;
    }
  });
  return taken.filter((id) => id !== undefined);
}

async function inPortions<T>(ids: readonly string[], work: (id: string) => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  for (let from = 0; from < ids.length; from += atOnceMax) results.push(...(await Promise.all(ids.slice(from, from + atOnceMax).map(work))));
  return results;
}

/** Both of one form: an HTTP origin, a gRPC target, or the name of a queue. */
function checkAddresses(from: string, to: string): void {
  const isOrigin = (address: string): boolean => /^https?:\/\//i.test(address);
  const fault =
    isOrigin(from) !== isOrigin(to)
      ? "must have the form of from_address: both scheme with host and port, or both a gRPC target or queue"
      : isOrigin(to) && (!URL.canParse(to) || !/^https?:\/\/[^/?#@]+$/i.test(to))
        ? "must be scheme with host and port alone, for example https://orders.example:8443"
        : undefined;
  if (fault !== undefined) throw violationsError([{ field: "to_address", reason: "ENDPOINT_INVALID", description: fault }]);
}
