/** SagaCoordinationService. Every execution is a saga; those that no workflow made begin here. */
import type { ServiceImpl } from "@connectrpc/connect";
import type { SagaCoordinationService } from "#gen/pyairtable/workflow/v1/saga_coordination_service_pb.js";
import type { RpcParts } from "./parts.ts";
import { sagaControlRpcs } from "./saga-control-rpcs.ts";
import { sagaOperateRpcs } from "./saga-operate-rpcs.ts";
import { sagaReadRpcs } from "./saga-read-rpcs.ts";
import { sagaStartRpcs } from "./saga-start-rpcs.ts";
import { sagaStepRpcs } from "./saga-step-rpcs.ts";

export function sagaRpcs(parts: RpcParts): Partial<ServiceImpl<typeof SagaCoordinationService>> {
  return { ...sagaStartRpcs(parts), ...sagaReadRpcs(parts), ...sagaControlRpcs(parts), ...sagaOperateRpcs(parts), ...sagaStepRpcs(parts) };
}
