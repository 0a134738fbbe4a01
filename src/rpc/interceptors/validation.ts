/**
 * Checks every request message against the rules written in the protos (protovalidate) and for what the schema cannot
 * say (unknown fields, text that cannot be stored). Refusals are INVALID_ARGUMENT with proto paths.
 */
import { create, type DescMessage, type DescMethod, type Message } from "@bufbuild/protobuf";
import { pathToString } from "@bufbuild/protobuf/reflect";
import type { Validator, Violation } from "@bufbuild/protovalidate";
import type { Interceptor } from "@connectrpc/connect";
import { AppError, type ErrorReason, errorReasons, type FieldViolation, violationsError } from "../../base/errors.ts";
import { contractValidator } from "./contract-validator.ts";
import { findMessageFaults, violationsMax } from "./message-faults.ts";
import { findViolations } from "./nested-rules.ts";
import { findTooManySteps } from "./step-count.ts";

export interface Validation {
  readonly interceptor: Interceptor;
  /** Compiles the rules of a method, for which its first call would otherwise wait. Throws when they cannot be evaluated. */
  prepare(method: DescMethod): void;
}

export function createValidation(): Validation {
  return {
    interceptor: (next) => async (request) => {
      if (!request.stream) {
        checkMessage(contractValidator, request.method.input, request.message);
        return next(request);
      }
      return next({ ...request, message: checked(contractValidator, request.method.input, request.message) });
    },
    prepare({ input, name, parent }) {
      const result = contractValidator.validate(input, create(input));
      if (result.kind === "error") throw new Error(`${parent.typeName}/${name}: ${result.error.message}`);
    },
  };
}

async function* checked(validator: Validator, desc: DescMessage, messages: AsyncIterable<Message>): AsyncIterable<Message> {
  for await (const message of messages) {
    checkMessage(validator, desc, message);
    yield message;
  }
}

/** Throws AppError when `message` breaks a rule. */
function checkMessage(validator: Validator, desc: DescMessage, message: Message): void {
  const tooMany = findTooManySteps(desc, message);
  if (tooMany) throw violationsError([tooMany]);
  const faults = findMessageFaults(desc, message);
  if (faults.length > 0) throw violationsError(faults);
  const violations = ruleFaults(validator, desc, message);
  if (violations.length > 0) throw violationsError(violations);
}

/** The rules of the protos that `message` breaks, for a report instead of a refusal. */
export function findRuleFaults(validator: Validator, desc: DescMessage, message: Message): FieldViolation[] {
  const tooMany = findTooManySteps(desc, message);
  return tooMany ? [tooMany] : ruleFaults(validator, desc, message);
}

function ruleFaults(validator: Validator, desc: DescMessage, message: Message): FieldViolation[] {
  return violationsOf(validator, desc, message).slice(0, violationsMax).map(toFieldViolation);
}

function violationsOf(validator: Validator, desc: DescMessage, message: Message): Violation[] {
  try {
    return findViolations(validator, desc, message);
  } catch (cause) {
    throw new AppError("INTERNAL_BUG", "A validation rule could not be evaluated.", { cause });
  }
}

function toFieldViolation(violation: Violation): FieldViolation {
  const description = violation.message === "" ? `breaks the rule ${violation.ruleId}` : violation.message;
  return { field: pathToString(violation.field) || "(request)", reason: reasonOf(violation.ruleId), description };
}

/** Rules over several fields carry their reason as id; all others are plain validation failures. */
function reasonOf(ruleId: string): ErrorReason {
  if (!errorReasons.includes(ruleId)) return "VALIDATION_FAILED";
  const reason = ruleId as ErrorReason;
  return new AppError(reason, "").code === "INVALID_ARGUMENT" ? reason : "VALIDATION_FAILED";
}
