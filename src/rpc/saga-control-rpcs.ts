/** SagaCoordinationService: what the callers of a saga and its operators decide. */
import { create } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  AbortSagaResponseSchema,
  CompleteSagaResponseSchema,
  ExtendSagaResponseSchema,
  LeaveSagaResponseSchema,
  ResolveStepResponseSchema,
  type SagaCoordinationService,
  StepResolution,
} from "#gen/pyairtable/workflow/v1/saga_coordination_service_pb.js";
import { violationsError } from "../base/errors.ts";
import type { Resolution } from "../domain/control-resolve.ts";
import { openToken } from "../domain/task-token.ts";
import { callerOf } from "./interceptors/call.ts";
import type { RpcParts } from "./parts.ts";
import { commandSaga, sagaOf } from "./saga-parts.ts";
import { stepsFromState } from "./wire/step.ts";
import { jsonFromValue } from "./wire/value.ts";

type SagaControlRpcs = Pick<ServiceImpl<typeof SagaCoordinationService>, "abortSaga" | "completeSaga" | "extendSaga" | "leaveSaga" | "resolveStep">;

export function sagaControlRpcs(parts: RpcParts): SagaControlRpcs {
  return {
    async abortSaga(request, context) {
      const caller = callerOf(context);
      const { loaded } = await commandSaga(parts, caller, request, { kind: "abort_saga", actor: caller.actor, reason: request.reason });
      return create(AbortSagaResponseSchema, { saga: sagaOf(loaded) });
    },

    async completeSaga(request, context) {
      const { loaded } = await commandSaga(parts, callerOf(context), request, { kind: "complete_saga", whenIdle: request.whenIdle });
      return create(CompleteSagaResponseSchema, { saga: sagaOf(loaded) });
    },

    async extendSaga(request, context) {
      const ttlMs = request.ttl ? durationMs(request.ttl) : 0;
      const { loaded } = await commandSaga(parts, callerOf(context), request, { kind: "extend_saga", ttlMs });
      return create(ExtendSagaResponseSchema, { saga: sagaOf(loaded) });
    },

    async leaveSaga(request, context) {
      const caller = callerOf(context);
      const { step: path, reason, token } = request;
      if (token !== "") {
        const ref = openToken(parts.taskTokenKey, caller.tenantId, token);
        if (ref?.path !== path || ref.operation !== "action") {
          throw violationsError([
            { field: "token", reason: "TOKEN_INVALID", description: "is not one of this step; use the one that EnlistStep answered, or none" },
          ]);
        }
      }
      const { loaded } = await commandSaga(parts, caller, request, { kind: "leave_saga", actor: caller.actor, path, reason });
      return create(LeaveSagaResponseSchema, { saga: sagaOf(loaded) });
    },

    async resolveStep(request, context) {
      const caller = callerOf(context);
      const { step: path, reason } = request;
      const resolution = resolutions[request.resolution];
      if (resolution === undefined) {
        throw violationsError([
          { field: "resolution", reason: "VALIDATION_FAILED", description: "is required: STEP_RESOLUTION_MARK_DONE, …_MARK_COMPENSATED or …_ABANDON" },
        ]);
      }
      const result = request.result === undefined ? {} : { result: jsonFromValue(request.result) };
      const { loaded } = await commandSaga(parts, caller, request, { kind: "resolve_step", actor: caller.actor, path, reason, resolution, ...result });
      const step = stepsFromState(loaded.state, loaded.revision.definition).find((candidate) => candidate.path === path);
      return create(ResolveStepResponseSchema, { saga: sagaOf(loaded), step });
    },
  };
}

const resolutions: Record<StepResolution, Resolution | undefined> = {
  [StepResolution.UNSPECIFIED]: undefined,
  [StepResolution.MARK_DONE]: "mark_done",
  [StepResolution.MARK_COMPENSATED]: "mark_compensated",
  [StepResolution.ABANDON]: "abandon",
};
