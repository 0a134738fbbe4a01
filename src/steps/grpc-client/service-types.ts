/** Descriptors as types that can be called: what a method takes and gives, and the registry that `Any` needs. */
import { create, createFileRegistry, type DescMethod, type FileRegistry, fromBinary } from "@bufbuild/protobuf";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import * as wellKnown from "@bufbuild/protobuf/wkt";
import { type FileDescriptorProto, FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { messageOf } from "../../base/errors.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import { type Failure, failure } from "../../domain/failure.ts";

/** All descriptor files of a service together, without comments: building types from them keeps the event loop (about 100 ms at most). */
export const descriptorBytesMax = 512 * 1024;
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

const sourceCodeInfoField = 9;

/** One descriptor file from its bytes. Comments and positions, often most of it, are left out before anything is built. */
export function readDescriptorFile(encoded: Uint8Array): { readonly file: FileDescriptorProto; readonly bytes: number } {
  const reader = new BinaryReader(encoded);
  const kept: Uint8Array[] = [];
  while (reader.pos < reader.len) {
    const start = reader.pos;
    const [field, wireType] = reader.tag();
    reader.skip(wireType, field);
    if (field !== sourceCodeInfoField) kept.push(encoded.subarray(start, reader.pos));
  }
  const bytes = kept.reduce((sum, part) => sum + part.length, 0);
  if (bytes > descriptorBytesMax) throw new Error(`the file is larger than ${descriptorBytesMax} bytes`);
  return { file: fromBinary(FileDescriptorProtoSchema, Buffer.concat(kept)), bytes };
}

export interface ServiceTypes {
  readonly registry: FileRegistry;
  readonly methods: ReadonlyMap<string, DescMethod>;
}

export function typesOfFiles(files: readonly FileDescriptorProto[], service: string): Result<ServiceTypes, Failure> {
  try {
    const byName = new Map(files.map((file) => [file.name, file]));
    const root = files.find((file) => file.service.some(({ name }) => (file.package === "" ? name : `${file.package}.${name}`) === service));
    if (!root) return fail(failure("GRPC.UNIMPLEMENTED", `the descriptors have no service ${service}`));
    const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: inOrder(root, byName) }));
    const described = registry.getService(service);
    if (!described) return fail(failure("GRPC.UNIMPLEMENTED", `the descriptors have no service ${service}`));
    return ok({ registry, methods: new Map(described.methods.map((method) => [method.name, method])) });
  } catch (error) {
    return fail(failure("SCHEMA", `the descriptors of ${service} cannot be used: ${messageOf(error).slice(0, 500)}`));
  }
}

/** The root and what it imports, each file after its imports: the registry is built in that order (its own search loses shared imports). */
function inOrder(root: FileDescriptorProto, byName: ReadonlyMap<string, FileDescriptorProto>): FileDescriptorProto[] {
  const ordered: FileDescriptorProto[] = [];
  const state = new Map<string, "open" | "done">();
  const visit = (file: FileDescriptorProto): void => {
    state.set(file.name, "open");
    for (const name of file.dependency) {
      if (state.get(name) === "done") continue;
      if (state.get(name) === "open") throw new Error(`${name} imports itself through ${file.name}`);
      const found = byName.get(name) ?? wellKnownFiles.get(name);
      if (!found) throw new Error(`${name} is missing, which ${file.name} imports`);
      visit(found);
    }
    state.set(file.name, "done");
    ordered.push(file);
  };
  visit(root);
  return ordered;
}

/** Of a serialized google.protobuf.FileDescriptorSet with all imports (`buf build -o`, `protoc --include_imports`). */
export function typesOfSet(bytes: Uint8Array, service: string): Result<ServiceTypes, Failure> {
  try {
    const files: FileDescriptorProto[] = [];
    let kept = 0;
    const reader = new BinaryReader(bytes);
    while (reader.pos < reader.len) {
      const [field, wireType] = reader.tag();
      if (field !== 1 || wireType !== WireType.LengthDelimited) {
        reader.skip(wireType, field);
        continue;
      }
      const read = readDescriptorFile(reader.bytes());
      files.push(read.file);
      kept += read.bytes;
      if (files.length > descriptorFilesMax || kept > descriptorBytesMax) {
        return fail(
          failure("LIMIT.DESCRIPTORS", `the descriptor set has more than ${descriptorFilesMax} files or ${descriptorBytesMax} bytes without comments`),
        );
      }
    }
    return typesOfFiles(files, service);
  } catch (error) {
    return fail(failure("SCHEMA", `the descriptor set cannot be read: ${messageOf(error).slice(0, 500)}`));
  }
}
