/**
 * Learns a service's types by server reflection: first the file that declares it, then round by round the imports that are
 * still missing (servers differ in how many they send along). Each round is one call whose questions are all sent at once.
 * The two versions of the protocol differ in nothing but the name of the package.
 */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { FileDescriptorProto } from "@bufbuild/protobuf/wkt";
import { type ServerReflectionRequest, ServerReflectionRequestSchema, ServerReflectionResponseSchema } from "#gen/grpc/reflection/v1/reflection_pb.js";
import { messageOf } from "../../base/errors.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import { failure } from "../../domain/failure.ts";
import type { GrpcDestination, GrpcFailed, GrpcOutcome, GrpcRequest } from "../grpc-egress.ts";
import { codeNames } from "./grpc-status.ts";
import { descriptorBytesMax, descriptorFilesMax, readDescriptorFile, wellKnownFiles } from "./service-types.ts";

const roundsMax = 16;
/** One round's answers; comments, which are not kept, are often most of them. */
const answerBytesMax = 4 * 1024 * 1024;

export type ReflectionVersion = "v1" | "v1alpha";

export interface Reflected {
  readonly files: readonly FileDescriptorProto[];
  readonly bytes: number;
  readonly version: ReflectionVersion;
}

type Exchange = (request: GrpcRequest) => Promise<GrpcOutcome>;
type Question = ServerReflectionRequest["messageRequest"];

/** Files that declare `service`, imports included. No failure here has touched the service itself: the outcome is always `failed`. */
export async function readReflection(exchange: Exchange, destination: GrpcDestination, service: string): Promise<Result<Reflected, GrpcFailed>> {
  const found = await readVersion(exchange, destination, service, "v1");
  return found ?? (await readVersion(exchange, destination, service, "v1alpha")) ?? refused("GRPC.UNIMPLEMENTED", noReflection(destination));
}

/** Undefined: the server does not speak this version. */
async function readVersion(
  exchange: Exchange,
  destination: GrpcDestination,
  service: string,
  version: ReflectionVersion,
): Promise<Result<Reflected, GrpcFailed> | undefined> {
  const files = new Map<string, FileDescriptorProto>();
  let bytes = 0;
  let questions: Question[] = [{ case: "fileContainingSymbol", value: service }];
  for (let round = 0; round < roundsMax; round++) {
    const outcome = await exchange({
      ...destination,
      path: `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`,
      messages: questions.map((messageRequest) => toBinary(ServerReflectionRequestSchema, create(ServerReflectionRequestSchema, { messageRequest }))),
      messagesMax: questions.length,
      responseBytesMax: answerBytesMax,
    });
    if (outcome.kind === "failed") return fail({ ...outcome, outcome: "failed" });
    const { status } = outcome;
    if (status.codeName === "UNIMPLEMENTED") return undefined;
    if (status.code !== 0) return refused(`GRPC.${status.codeName}`, `reflection of ${destination.target} answered ${status.codeName}: ${status.message}`);
    if (outcome.messages.length < questions.length) return refused("GRPC.INTERNAL", `reflection of ${destination.target} left questions unanswered`);
    for (const [index, message] of outcome.messages.entries()) {
      const taken = readAnswer(message, questions[index], destination.target, service);
      if (!taken.ok) return taken;
      for (const encoded of taken.value) {
        const read = decode(encoded);
        if (!read) return refused("SCHEMA", `reflection of ${destination.target} sent a file that cannot be read`);
        if (files.has(read.file.name)) continue;
        files.set(read.file.name, read.file);
        bytes += read.bytes;
      }
    }
    if (bytes > descriptorBytesMax || files.size > descriptorFilesMax) {
      return refused(
        "LIMIT.DESCRIPTORS",
        `${service} needs more than ${descriptorFilesMax} files or ${descriptorBytesMax} bytes of descriptors without comments`,
      );
    }
    const missing = new Set([...files.values()].flatMap((file) => file.dependency).filter((name) => !files.has(name) && !wellKnownFiles.has(name)));
    if (missing.size === 0) return ok({ files: [...files.values()], bytes, version });
    if (missing.size > descriptorFilesMax) return refused("LIMIT.DESCRIPTORS", `${service} needs more than ${descriptorFilesMax} files of descriptors`);
    questions = [...missing].map((value) => ({ case: "fileByFilename", value }));
  }
  return refused("LIMIT.DESCRIPTORS", `the imports of ${service} are more than ${roundsMax} levels deep`);
}

function readAnswer(message: Buffer, question: Question | undefined, target: string, service: string): Result<readonly Uint8Array[], GrpcFailed> {
  try {
    const { messageResponse: answer } = fromBinary(ServerReflectionResponseSchema, message);
    if (answer.case === "fileDescriptorResponse") return ok(answer.value.fileDescriptorProto);
    if (answer.case !== "errorResponse") return refused("GRPC.INTERNAL", `reflection of ${target} answered another question`);
    const code = codeNames[answer.value.errorCode] ?? "UNKNOWN";
    if (question?.case === "fileContainingSymbol" && code === "NOT_FOUND") return refused("GRPC.UNIMPLEMENTED", `${target} has no service ${service}`);
    return refused(`GRPC.${code}`, `reflection of ${target} refused ${String(question?.value)}: ${answer.value.errorMessage.slice(0, 500)}`);
  } catch (error) {
    return refused("GRPC.INTERNAL", `reflection of ${target} cannot be read: ${messageOf(error)}`);
  }
}

function decode(encoded: Uint8Array): ReturnType<typeof readDescriptorFile> | undefined {
  try {
    return readDescriptorFile(encoded);
  } catch {
    return undefined;
  }
}

function noReflection(destination: GrpcDestination): string {
  return `${destination.target} has no server reflection; switch it on there, or give descriptor_blob_id`;
}

function refused(name: string, message: string): Result<never, GrpcFailed> {
  return fail({ kind: "failed", outcome: "failed", failure: failure(name, message) });
}
