/** The service as a sibling with the plain gRPC library sees it: grpc-js, generated messages, no Connect. */
import { create, type DescMessage, fromBinary, type MessageInitShape, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { Client, type ClientReadableStream, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";

export interface GrpcJs {
  readonly client: Client;
  unary<I extends DescMessage, O extends DescMessage>(
    method: Method<I, O>,
    input: MessageInitShape<I>,
    headers?: Record<string, string>,
  ): Promise<MessageShape<O>>;
  stream<I extends DescMessage, O extends DescMessage>(method: Method<I, O>, input: MessageInitShape<I>): ClientReadableStream<MessageShape<O>>;
  close(): void;
}

export interface Method<I extends DescMessage, O extends DescMessage> {
  readonly input: I;
  readonly output: O;
  readonly name: string;
  readonly parent: { readonly typeName: string };
}

export function grpcJs({ port, apiKey }: { readonly port: number; readonly apiKey: string }): GrpcJs {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
  const metadata = (headers: Record<string, string> = {}): Metadata => {
    const all = new Metadata();
    if (apiKey !== "") all.set("authorization", `Bearer ${apiKey}`);
    for (const [name, value] of Object.entries(headers)) all.set(name, value);
    return all;
  };
  return {
    client,
    unary: (method, input, headers) =>
      new Promise((resolve, reject) =>
        client.makeUnaryRequest(
          pathOf(method),
          (message: MessageShape<typeof method.input>) => Buffer.from(toBinary(method.input, message)),
          (bytes) => fromBinary(method.output, bytes),
          create(method.input, input),
          metadata(headers),
          (error: ServiceError | null, answer) => (error ? reject(error) : resolve(answer as MessageShape<typeof method.output>)),
        ),
      ),
    stream: (method, input) =>
      client.makeServerStreamRequest(
        pathOf(method),
        (message: MessageShape<typeof method.input>) => Buffer.from(toBinary(method.input, message)),
        (bytes) => fromBinary(method.output, bytes),
        create(method.input, input),
        metadata(),
      ),
    close: () => client.close(),
  };
}

function pathOf(method: { readonly name: string; readonly parent: { readonly typeName: string } }): string {
  return `/${method.parent.typeName}/${method.name}`;
}
