/** Every rpc of the contract by its name, from the descriptors. */
import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { Health } from "#gen/grpc/health/v1/health_pb.js";
import { AccessService } from "#gen/pyairtable/workflow/v1/access_service_pb.js";
import { FileService } from "#gen/pyairtable/workflow/v1/file_service_pb.js";
import { MonitoringService } from "#gen/pyairtable/workflow/v1/monitoring_service_pb.js";
import { SagaCoordinationService } from "#gen/pyairtable/workflow/v1/saga_coordination_service_pb.js";
import { SecretService } from "#gen/pyairtable/workflow/v1/secret_service_pb.js";
import { TaskService } from "#gen/pyairtable/workflow/v1/task_service_pb.js";
import { TemplateService } from "#gen/pyairtable/workflow/v1/template_service_pb.js";
import { WorkflowService } from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import { UsageError } from "./usage-error.ts";

export const services: readonly DescService[] = [
  WorkflowService,
  TemplateService,
  SagaCoordinationService,
  TaskService,
  MonitoringService,
  AccessService,
  SecretService,
  FileService,
  Health,
];

/** `WorkflowService/GetExecution`, with or without the package; upper and lower case are the same. Says what there is when there is no such. */
export function findMethod(name: string): DescMethod {
  const [given = "", wanted = "", ...more] = name.split("/");
  const found = services.find(({ name: short, typeName }) => [short, typeName].some((text) => text.toLowerCase() === given.toLowerCase()));
  if (!found || more.length > 0) {
    throw new UsageError(`there is no service "${given}"; SERVICE/METHOD takes one of: ${services.map(({ name: short }) => short).join(", ")}`, "call");
  }
  const method = found.methods.find(({ name: short }) => short.toLowerCase() === wanted.toLowerCase());
  if (!method) throw new UsageError(`${found.name} has no method "${wanted}"; it has: ${found.methods.map(({ name: short }) => short).join(", ")}`, "call");
  return method;
}
