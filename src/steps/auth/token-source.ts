/** Where steps get access tokens from; see `oauth-tokens.ts`. */
import type { Result } from "../../base/result.ts";
import type { Failure } from "../../domain/failure.ts";

export interface TokenRequest {
  readonly tenantId: string;
  readonly tokenUrl: string;
  readonly clientId: string;
  readonly clientSecret: string;
  readonly scopes: readonly string[];
}

/** Why there is no token, and how long the endpoint asks to wait, in milliseconds. */
export interface TokenFault {
  readonly failure: Failure;
  readonly retryAfterMs?: number;
}

export interface TokenSource {
  /** A token that is valid now. `refused` is one that the service has just answered with 401: it is not given again. */
  get(request: TokenRequest, signal: AbortSignal, refused?: string): Promise<Result<string, TokenFault>>;
}
