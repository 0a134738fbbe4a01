/** A refusal as data: the google.rpc.Status of one item of a batch, with the details that it would have as an error of its own. */
import { create } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { Code } from "#gen/google/rpc/code_pb.js";
import { type Status, StatusSchema } from "#gen/google/rpc/status_pb.js";
import type { AppError } from "../base/errors.ts";
import { detailsOf } from "./interceptors/errors.ts";

export function statusOf(error: AppError): Status {
  const details = detailsOf(error).map(({ desc, value }) => anyPack(desc, create(desc, value)));
  return create(StatusSchema, { code: Code[error.code], message: error.message, details });
}
