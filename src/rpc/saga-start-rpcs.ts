/** SagaCoordinationService: starting sagas. */
import { create, toJson } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import { CompensationPolicySchema } from "#gen/pyairtable/workflow/v1/policy_pb.js";
import {
  type SagaCoordinationService,
  SagaMode,
  type StartSagaRequest,
  StartSagaResponseSchema,
  SubmitSagaResponseSchema,
} from "#gen/pyairtable/workflow/v1/saga_coordination_service_pb.js";
import { type Endpoint, EndpointSchema, SagaStepSchema } from "#gen/pyairtable/workflow/v1/saga_pb.js";
import type { Caller } from "../base/caller.ts";
import { violationsError } from "../base/errors.ts";
import type { JsonObject } from "../base/json.ts";
import type { Started } from "../engine/start-execution.ts";
import type { SagaStart } from "../engine/start-saga.ts";
import { callerOf, safeId } from "./interceptors/call.ts";
import { idInHeader } from "./interceptors/changes.ts";
import type { RpcParts } from "./parts.ts";
import { commandSaga, loadSaga, sagaOf } from "./saga-parts.ts";
import { checkSagaSecrets } from "./saga-secrets.ts";

type SagaStartRpcs = Pick<ServiceImpl<typeof SagaCoordinationService>, "startSaga" | "submitSaga">;

export function sagaStartRpcs(parts: RpcParts): SagaStartRpcs {
  return {
    async startSaga(request, context) {
      const caller = callerOf(context);
      const wish = sagaStartOf(request, context.requestHeader);
      if (request.validateOnly) {
        const state = await parts.sagas.preview(caller, wish);
        await checkSecrets(parts, caller, wish);
        return create(StartSagaResponseSchema, { saga: sagaOf({ state, revision: await parts.definitions.of(state) }) });
      }
      const { executionId, existing, replayed, state } = await start(parts, caller, wish);
      if (replayed) context.responseHeader.set("idempotent-replayed", "true");
      const loaded = state ? { state, revision: await parts.definitions.of(state) } : await loadSaga(parts, caller, executionId);
      return create(StartSagaResponseSchema, { saga: sagaOf(loaded), existing });
    },

    async submitSaga(request, context) {
      const { loaded } = await commandSaga(parts, callerOf(context), request, { kind: "submit_saga" });
      return create(SubmitSagaResponseSchema, { saga: sagaOf(loaded) });
    },
  };
}

async function start(parts: RpcParts, caller: Caller, wish: SagaStart): Promise<Started> {
  try {
    await checkSecrets(parts, caller, wish);
    return await parts.sagas.start(caller, wish);
  } catch (error) {
    // A repeat gets its answer although a secret or an address has gone meanwhile.
    const replayed = await parts.sagas.replayed(caller, wish);
    if (replayed) return replayed;
    throw error;
  }
}

/** Their faults are told first: a step that does not parse names nothing. */
async function checkSecrets(parts: RpcParts, caller: Caller, { steps }: SagaStart): Promise<void> {
  await checkSagaSecrets(
    parts,
    caller,
    steps.map((step, index) => ({ step, selfDriven: false, at: `steps[${index}]` })),
  );
}

function sagaStartOf(request: StartSagaRequest, headers: Headers): SagaStart {
  const { checkBack } = request;
  if (checkBack?.via.case === "pull") {
    throw violationsError([{ field: "check_back.pull", reason: "ENDPOINT_INVALID", description: "whoever is asked must be called; use grpc or http" }]);
  }
  return {
    steps: request.steps.map(sagaStepToJson),
    prepared: request.mode === SagaMode.PREPARED,
    autoComplete: request.autoComplete,
    ttlMs: request.ttl ? durationMs(request.ttl) : 0,
    correlationId: safeId(request.correlationId),
    executionKey: request.executionKey || undefined,
    compensationPolicy: request.compensationPolicy && (toJson(CompensationPolicySchema, request.compensationPolicy, { useProtoFieldName: true }) as JsonObject),
    labels: request.labels,
    checkBack: checkBack && endpointToJson(checkBack),
    requestId: request.requestId || idInHeader(headers),
  };
}

/** As it is stored and as `domain/saga-steps.ts` reads it. */
export function sagaStepToJson(step: StartSagaRequest["steps"][number]): JsonObject {
  return toJson(SagaStepSchema, step, { useProtoFieldName: true }) as JsonObject;
}

function endpointToJson(endpoint: Endpoint): JsonObject {
  return toJson(EndpointSchema, endpoint, { useProtoFieldName: true }) as JsonObject;
}
