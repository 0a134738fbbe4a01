/** A failure of a run, between the domain's data and the contract's message. */
import { create } from "@bufbuild/protobuf";
import { type Failure as FailureMessage, FailureSchema } from "#gen/pyairtable/workflow/v1/failure_pb.js";
import type { Failure } from "../../domain/failure.ts";
import { jsonFromValue, valueFromJson } from "./value.ts";

/** Causes inside causes that are sent or taken; deeper ones say nothing a reader would miss. */
const causesMax = 16;

export function failureToMessage(failure: Failure): FailureMessage;
export function failureToMessage(failure: Failure | undefined): FailureMessage | undefined;
export function failureToMessage(failure: Failure | undefined): FailureMessage | undefined {
  return failure && toMessage(failure, causesMax);
}

/** The failure in a message, for example one that a worker or an operator reports. */
export function failureFromMessage(message: FailureMessage): Failure {
  return fromMessage(message, causesMax);
}

function toMessage(failure: Failure, causesLeft: number): FailureMessage {
  const { name, message, details, stepPath, cause } = failure;
  return create(FailureSchema, {
    name,
    message,
    details: valueFromJson(details),
    stepPath: stepPath ?? "",
    cause: cause && causesLeft > 0 ? toMessage(cause, causesLeft - 1) : undefined,
  });
}

function fromMessage({ name, message, details, stepPath, cause }: FailureMessage, causesLeft: number): Failure {
  return {
    name,
    message,
    ...(details === undefined ? {} : { details: jsonFromValue(details) }),
    ...(stepPath === "" ? {} : { stepPath }),
    ...(cause === undefined || causesLeft === 0 ? {} : { cause: fromMessage(cause, causesLeft - 1) }),
  };
}
