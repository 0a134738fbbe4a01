/**
 * The one client through which steps call gRPC servers, as the steps see it. Same guard as HTTP: addresses are vetted, bytes are
 * capped, one total deadline. `call` speaks JSON, `exchange` the bytes of messages that a caller encodes itself.
 */

import type { Json } from "../base/json.ts";
import type { Result } from "../base/result.ts";
import type { Failure } from "../domain/failure.ts";
import type { AttemptAbout } from "./attempt-about.ts";

export interface GrpcEgress {
  /** One method with one request as JSON; the types come from the server's reflection or from `descriptors`. */
  call(call: GrpcCall): Promise<GrpcJsonOutcome>;
  /** One request stream, half-closed at once, and the messages that come back. Never throws. */
  exchange(request: GrpcRequest): Promise<GrpcOutcome>;
}

/** Where a call goes and what bounds it. */
export interface GrpcDestination {
  readonly tenantId: string;
  /** `dns:///host:port` or `host:port`; without a port 443. */
  readonly target: string;
  /** No TLS; only to targets that the operator has opened by name. */
  readonly plaintext: boolean;
  /** Lower-case names. Values are checked by the caller (`grpc-metadata.ts`). */
  readonly metadata: Readonly<Record<string, string>>;
  /** Time left, sent as `grpc-timeout`, in milliseconds. The end itself comes with `signal`. */
  readonly timeoutMs: number;
  /** Ends the call; its reason is a `Failure`. */
  readonly signal: AbortSignal;
  /** Whose call it is, for the log. */
  readonly about?: AttemptAbout;
}

export interface GrpcRequest extends GrpcDestination {
  /** `/package.Service/Method`. */
  readonly path: string;
  readonly messages: readonly Uint8Array[];
  /** Takes up to so many messages and cancels the rest; absent: exactly one message is due, and the status after it. */
  readonly messagesMax?: number | undefined;
  /** Bytes of all messages together. */
  readonly responseBytesMax: number;
}

export interface GrpcCall extends GrpcDestination {
  /** Full name, for example `shop.v1.Orders`. */
  readonly service: string;
  readonly method: string;
  readonly request: Json;
  /** Messages collected from a server stream; what comes after them is cancelled. */
  readonly messagesMax: number;
  /** Where the types stand [server reflection]. */
  readonly descriptors?: DescriptorSource;
}

/** A serialized google.protobuf.FileDescriptorSet. Equal keys of a tenant mean equal bytes; it is read when its types are not at hand. */
export interface DescriptorSource {
  readonly key: string;
  read(): Promise<Result<Uint8Array, Failure>>;
}

/** A status the other side gave, or a proxy before it. */
export interface GrpcStatus {
  /** 0 to 16. */
  readonly code: number;
  /** `UNAVAILABLE` … */
  readonly codeName: string;
  /** Not cut: at most the 16 KiB of a header block. */
  readonly message: string;
  /** Details of google.rpc.Status as proto JSON, those that are known. */
  readonly details: readonly Json[];
  /** RetryInfo or `grpc-retry-pushback-ms`, capped. */
  readonly retryAfterMs: number | undefined;
  /** Whether the gRPC server itself said so; false: an HTTP status or something unreadable stood in its place. */
  readonly isGrpc: boolean;
}

export interface GrpcFailed {
  readonly kind: "failed";
  readonly failure: Failure;
  /** `failed`: surely nothing was sent or taken; `unknown`: the other side may have acted. */
  readonly outcome: "failed" | "unknown";
}

export type GrpcOutcome = { readonly kind: "answered"; readonly status: GrpcStatus; readonly messages: readonly Buffer[] } | GrpcFailed;

/** `result` is the response, or the list of them when the method streams. */
export type GrpcJsonOutcome = { readonly kind: "succeeded"; readonly result: Json } | { readonly kind: "refused"; readonly status: GrpcStatus } | GrpcFailed;
