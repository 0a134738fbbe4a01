/** Descriptors as types that can be called: what a method takes and gives, and the registry that `Any` needs. */
import { createFileRegistry, type DescMethod, type FileRegistry, fromBinary } from "@bufbuild/protobuf";
import * as wellKnown from "@bufbuild/protobuf/wkt";
import { type FileDescriptorProto, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { messageOf } from "../../base/errors.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import { type Failure, failure } from "../../domain/failure.ts";

/** All descriptor files of a service together: building types from them keeps the event loop. */
export const descriptorBytesMax = 1024 * 1024;
export const descriptorFilesMax = 300;

/** Google's own types, which some servers do not send along. */
export const wellKnownFiles: ReadonlyMap<string, FileDescriptorProto> = new Map(
  [
    wellKnown.file_google_protobuf_any,
    wellKnown.file_google_protobuf_duration,
    wellKnown.file_google_protobuf_empty,
    wellKnown.file_google_protobuf_field_mask,
    wellKnown.file_google_protobuf_source_context,
    wellKnown.file_google_protobuf_struct,
    wellKnown.file_google_protobuf_timestamp,
    wellKnown.file_google_protobuf_type,
    wellKnown.file_google_protobuf_wrappers,
    wellKnown.file_google_protobuf_api,
    wellKnown.file_google_protobuf_descriptor,
  ].map((file) => [file.proto.name, file.proto]),
);

export interface ServiceTypes {
  readonly registry: FileRegistry;
  readonly methods: ReadonlyMap<string, DescMethod>;
}

export function typesOfFiles(files: readonly FileDescriptorProto[], service: string): Result<ServiceTypes, Failure> {
  try {
    const byName = new Map(files.map((file) => [file.name, file]));
    const root = files.find((file) => file.service.some(({ name }) => (file.package === "" ? name : `${file.package}.${name}`) === service));
    if (!root) return fail(failure("GRPC.UNIMPLEMENTED", `the descriptors have no service ${service}`));
    const registry = createFileRegistry(root, (name) => byName.get(name) ?? wellKnownFiles.get(name));
    const described = registry.getService(service);
    if (!described) return fail(failure("GRPC.UNIMPLEMENTED", `the descriptors have no service ${service}`));
    return ok({ registry, methods: new Map(described.methods.map((method) => [method.name, method])) });
  } catch (error) {
    return fail(failure("SCHEMA", `the descriptors of ${service} cannot be used: ${messageOf(error).slice(0, 500)}`));
  }
}

/** Of a serialized google.protobuf.FileDescriptorSet with all imports (`buf build -o`, `protoc --include_imports`). */
export function typesOfSet(bytes: Uint8Array, service: string): Result<ServiceTypes, Failure> {
  if (bytes.length > descriptorBytesMax) return fail(failure("LIMIT.DESCRIPTORS", `the descriptor set is larger than ${descriptorBytesMax} bytes`));
  try {
    const { file } = fromBinary(FileDescriptorSetSchema, bytes);
    if (file.length > descriptorFilesMax) return fail(failure("LIMIT.DESCRIPTORS", `the descriptor set has more than ${descriptorFilesMax} files`));
    return typesOfFiles(file, service);
  } catch (error) {
    return fail(failure("SCHEMA", `the descriptor set cannot be read: ${messageOf(error).slice(0, 500)}`));
  }
}
