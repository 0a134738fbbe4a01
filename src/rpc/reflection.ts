/**
 * Server reflection, v1 and v1alpha (tools disagree which one they speak), over the generated descriptors: what
 * grpcurl, buf curl and Postman ask to learn our services. The google.rpc details travel along, so that these tools
 * can print errors. Generated code has no comments; a descriptor set built with source info brings them.
 */
import { type DescFile, type DescService, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { nestedTypes } from "@bufbuild/protobuf/reflect";
import { type FileDescriptorProto, FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Code, type ConnectRouter, type MethodImpl } from "@connectrpc/connect";
import { file_google_rpc_error_details } from "#gen/google/rpc/error_details_pb.js";
import { file_google_rpc_status } from "#gen/google/rpc/status_pb.js";
import { ServerReflection, type ServerReflectionRequest, type ServerReflectionResponseSchema } from "#gen/grpc/reflection/v1/reflection_pb.js";
import { ServerReflection as ServerReflectionAlpha } from "#gen/grpc/reflection/v1alpha/reflection_pb.js";

export interface ReflectionOptions {
  /** The services to show; health and reflection itself belong in. */
  readonly services: readonly DescService[];
  /**
   * A serialized google.protobuf.FileDescriptorSet with source info (`buf build -o`), for comments in the tools.
   * Files that are not in it are served from the generated code.
   */
  readonly descriptorSet?: Uint8Array;
}

type Response = NonNullable<MessageInitShape<typeof ServerReflectionResponseSchema>["messageResponse"]>;

export const reflectionServices: readonly DescService[] = [ServerReflection, ServerReflectionAlpha];

export function reflectionRoutes(options: ReflectionOptions): (router: ConnectRouter) => void {
  const answer = createAnswers(options);
  const info: MethodImpl<typeof ServerReflection.method.serverReflectionInfo> = async function* (requests) {
    for await (const request of requests) {
      yield { validHost: request.host, originalRequest: request, messageResponse: answer(request) };
    }
  };
  return (router) => {
    router.service(ServerReflection, { serverReflectionInfo: info });
    // The two versions differ in nothing but the name of the package.
    router.service(ServerReflectionAlpha, { serverReflectionInfo: info as unknown as MethodImpl<typeof ServerReflectionAlpha.method.serverReflectionInfo> });
  };
}

function createAnswers(options: ReflectionOptions): (request: ServerReflectionRequest) => Response {
  // Built when somebody asks first: it takes 50 ms, which a start need not wait for.
  let built: Index | undefined;
  const indexOf = (): Index => (built ??= buildIndex(options));

  function withFile(name: string | undefined, asked: string): Response {
    const files = name === undefined ? undefined : indexOf().withImports(name);
    if (!files) return { case: "errorResponse", value: { errorCode: Code.NotFound, errorMessage: `${asked} is not known here` } };
    return { case: "fileDescriptorResponse", value: { fileDescriptorProto: files } };
  }

  return ({ messageRequest: asked }) => {
    const index = indexOf();
    switch (asked.case) {
      case "fileByFilename":
        return withFile(asked.value, `file ${asked.value}`);
      case "fileContainingSymbol":
        return withFile(index.fileOfSymbol.get(asked.value.replace(/^\./, "")), `symbol ${asked.value}`);
      case "fileContainingExtension": {
        const { containingType, extensionNumber } = asked.value;
        return withFile(index.extensions.get(containingType)?.get(extensionNumber), `extension ${extensionNumber} of ${containingType}`);
      }
      case "allExtensionNumbersOfType": {
        if (!index.messages.has(asked.value)) return withFile(undefined, `message ${asked.value}`);
        const extensionNumber = [...(index.extensions.get(asked.value)?.keys() ?? [])].sort((left, right) => left - right);
        return { case: "allExtensionNumbersResponse", value: { baseTypeName: asked.value, extensionNumber } };
      }
      case "listServices":
        return { case: "listServicesResponse", value: { service: index.services.map((name) => ({ name })) } };
      case undefined:
        return { case: "errorResponse", value: { errorCode: Code.InvalidArgument, errorMessage: "the request asks for nothing" } };
      default:
        return asked satisfies never;
    }
  };
}

interface Index {
  readonly services: readonly string[];
  readonly messages: ReadonlySet<string>;
  /** Full name of anything that has one → file. */
  readonly fileOfSymbol: ReadonlyMap<string, string>;
  /** Extended message → number → file. */
  readonly extensions: ReadonlyMap<string, ReadonlyMap<number, string>>;
  /** The file and all it imports, itself first; undefined when unknown. */
  withImports(fileName: string): Uint8Array[] | undefined;
}

function buildIndex(options: ReflectionOptions): Index {
  const files = new Map<string, DescFile>();
  const collect = (file: DescFile): void => {
    if (files.has(file.proto.name)) return;
    files.set(file.proto.name, file);
    file.dependencies.forEach(collect);
  };
  for (const file of [...options.services.map((service) => service.file), file_google_rpc_error_details, file_google_rpc_status]) collect(file);

  const commented = new Map<string, FileDescriptorProto>();
  if (options.descriptorSet) {
    for (const file of fromBinary(FileDescriptorSetSchema, options.descriptorSet).file) commented.set(file.name, file);
  }
  const encoded = new Map([...files].map(([name, file]) => [name, toBinary(FileDescriptorProtoSchema, commented.get(name) ?? file.proto)]));

  const fileOfSymbol = new Map<string, string>();
  const extensions = new Map<string, Map<number, string>>();
  const messages = new Set<string>();
  for (const [name, file] of files) {
    for (const symbol of symbolsOf(file)) fileOfSymbol.set(symbol, name);
    for (const type of nestedTypes(file)) {
      if (type.kind === "message") messages.add(type.typeName);
      if (type.kind !== "extension") continue;
      const numbers = extensions.get(type.extendee.typeName) ?? new Map<number, string>();
      extensions.set(type.extendee.typeName, numbers.set(type.number, name));
    }
  }

  return {
    services: options.services.map((service) => service.typeName).sort(),
    messages,
    fileOfSymbol,
    extensions,
    withImports(fileName) {
      if (!files.has(fileName)) return undefined;
      const names = new Set([fileName]);
      for (const name of names) for (const dependency of files.get(name)?.dependencies ?? []) names.add(dependency.proto.name);
      return [...names].map((name) => encoded.get(name) as Uint8Array);
    },
  };
}

function* symbolsOf(file: DescFile): Iterable<string> {
  for (const entry of nestedTypes(file)) {
    yield entry.typeName;
    switch (entry.kind) {
      case "message":
        for (const field of entry.fields) yield `${entry.typeName}.${field.name}`;
        for (const oneof of entry.oneofs) yield `${entry.typeName}.${oneof.name}`;
        break;
      case "enum": {
        // Values of an enum are named in the scope around it, not inside it.
        const scope = entry.typeName.slice(0, entry.typeName.length - entry.name.length);
        for (const value of entry.values) yield `${scope}${value.name}`;
        break;
      }
      case "service":
        for (const method of entry.methods) yield `${entry.typeName}.${method.name}`;
        break;
      case "extension":
        break;
      default:
        entry satisfies never;
    }
  }
}
