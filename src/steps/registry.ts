/** The step types this server can carry out. To add one: a file like `log.ts`, and a line here. */
import { dataTransform } from "./data-transform.ts";
import { delay } from "./delay.ts";
import { fail } from "./fail.ts";
import { fileProcess } from "./file-process.ts";
import { grpcCall } from "./grpc-call.ts";
import { httpRequest } from "./http-request.ts";
import { log } from "./log.ts";
import { notification } from "./notification.ts";
import { setVariables } from "./set-variables.ts";
import type { StepHandler } from "./step-handler.ts";
import { subWorkflow } from "./sub-workflow.ts";
import { waitForEvent } from "./wait-for-event.ts";
import { workerTask } from "./worker-task.ts";

const handlers: readonly StepHandler[] = [
  httpRequest,
  grpcCall,
  fileProcess,
  delay,
  log,
  dataTransform,
  notification,
  setVariables,
  fail,
  waitForEvent,
  workerTask,
  subWorkflow,
];

export const stepHandlers: ReadonlyMap<string, StepHandler> = new Map(handlers.map((handler) => [handler.type, handler]));
