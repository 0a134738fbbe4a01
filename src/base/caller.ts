import type { Change } from "./change.ts";
import type { TraceBaggage } from "./trace-context.ts";

/**
 * Who is calling. The first argument of every function that touches a tenant's data, so that a query without a tenant
 * does not compile. The tenant comes from the credential alone.
 */
export interface Caller extends TraceBaggage {
  readonly tenantId: string;
  /** Id of the API key (`key_…`), or the name of the room when the service acts on its own. */
  readonly actor: string;
  readonly scopes: ReadonlySet<string>;
  /** Travels with everything this call causes. */
  readonly correlationId: string;
  /** One per call; echoed to the caller and written into its log lines. */
  readonly requestId: string;
  /** W3C trace context of the call, if it came with one. */
  readonly traceparent?: string;
  /** Set while the call may change something. */
  readonly change?: Change;
}
