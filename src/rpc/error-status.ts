/** A refusal as data: the google.rpc.Status of one item of a batch. */
import { create } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { Code } from "#gen/google/rpc/code_pb.js";
import { BadRequestSchema, ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { type Status, StatusSchema } from "#gen/google/rpc/status_pb.js";
import type { AppError } from "../base/errors.ts";
import { errorDomain } from "./interceptors/errors.ts";

export function statusOf(error: AppError): Status {
  const { reason, metadata, violations, message } = error;
  const details = [anyPack(ErrorInfoSchema, create(ErrorInfoSchema, { reason, domain: errorDomain, metadata: { ...metadata } }))];
  if (violations.length > 0) details.push(anyPack(BadRequestSchema, create(BadRequestSchema, { fieldViolations: [...violations] })));
  return create(StatusSchema, { code: Code[error.code], message, details });
}
