/**
 * How the service is: grpc.health.v1 for probes that speak gRPC. `""` and every service name say whether work can be
 * done now; `readiness` is the same for orchestrators; `liveness` only says that the process answers. Check of those
 * three is open to everybody, everything else needs a key (see `interceptors/policy.ts`).
 */
import type { DescService } from "@bufbuild/protobuf";
import { Code, ConnectError, type ConnectRouter, type HandlerContext } from "@connectrpc/connect";
import { Health, HealthCheckResponse_ServingStatus as Status } from "#gen/grpc/health/v1/health_pb.js";
import { callerOf, requireScope } from "./interceptors/call.ts";

export interface ComponentState {
  readonly name: string;
  readonly ok: boolean;
  /** For operators; shown only to callers with `monitoring:read`. */
  readonly message?: string;
}

/** What the rest of the service says about itself. */
export interface Readiness {
  /** Ready = all of them are ok. */
  components(): readonly ComponentState[];
  /** Calls `onChange` after a component changed; the returned function ends that. */
  subscribe(onChange: () => void): () => void;
}

const openNames = new Set(["", "liveness", "readiness"]);

export function isReady(readiness: Readiness): boolean {
  return readiness.components().every((component) => component.ok);
}

/** Registers grpc.health.v1.Health for `services`. */
export function healthRoutes(readiness: Readiness, services: readonly DescService[]): (router: ConnectRouter) => void {
  const names = ["", "liveness", "readiness", ...services.map((service) => service.typeName)];

  function statusOf(name: string): Status | undefined {
    if (name === "liveness") return Status.SERVING;
    if (!names.includes(name)) return undefined;
    return isReady(readiness) ? Status.SERVING : Status.NOT_SERVING;
  }

  async function* watch(name: string, context: HandlerContext): AsyncGenerator<{ status: Status }> {
    let wake = (): void => undefined;
    const unsubscribe = readiness.subscribe(() => wake());
    context.signal.addEventListener("abort", () => wake(), { once: true });
    try {
      let last: Status | undefined;
      while (!context.signal.aborted) {
        const changed = new Promise<void>((resolve) => (wake = resolve));
        const status = statusOf(name) ?? Status.SERVICE_UNKNOWN;
        if (status !== last) yield { status };
        last = status;
        if (!context.signal.aborted) await changed;
      }
    } finally {
      unsubscribe();
    }
  }

  return (router) => {
    router.service(Health, {
      check(request, context) {
        if (!openNames.has(request.service)) requireScope(callerOf(context), "monitoring:read");
        const status = statusOf(request.service);
        if (status === undefined) throw new ConnectError(`No service is called ${JSON.stringify(request.service)}. List names them.`, Code.NotFound);
        return { status };
      },
      watch: (request, context) => watch(request.service, context),
      list: () => ({ statuses: Object.fromEntries(names.map((name) => [name, { status: statusOf(name) ?? Status.UNKNOWN }])) }),
    });
  };
}
