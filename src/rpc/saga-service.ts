/** SagaCoordinationService: every execution is a saga; here is its saga view. Standalone sagas come later. */
import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { GetSagaResponseSchema, type SagaCoordinationService } from "#gen/pyairtable/workflow/v1/saga_coordination_service_pb.js";
import { View } from "#gen/pyairtable/workflow/v1/view_pb.js";
import { AppError } from "../base/errors.ts";
import { readExecution } from "../engine/read-execution.ts";
import { callerOf } from "./interceptors/call.ts";
import type { RpcParts } from "./parts.ts";
import { fitSteps } from "./wire/fit.ts";
import { sagaFromState } from "./wire/saga.ts";

export function sagaRpcs(parts: RpcParts): Pick<ServiceImpl<typeof SagaCoordinationService>, "getSaga"> {
  return {
    async getSaga(request, context) {
      const caller = callerOf(context);
      const record = await parts.executions.getExecution(caller, request.sagaId);
      const state = record && (await readExecution((...page) => parts.executions.listEvents(...page), caller, record.id));
      if (!state) throw new AppError("SAGA_NOT_FOUND", `saga ${request.sagaId} does not exist`, { metadata: { sagaId: request.sagaId } });
      const saga = sagaFromState(state);
      saga.steps = request.view === View.BASIC ? [] : fitSteps(saga.steps);
      return create(GetSagaResponseSchema, { saga });
    },
  };
}
