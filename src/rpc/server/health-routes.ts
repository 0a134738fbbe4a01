/**
 * Plain HTTP about the state of the service: `/health` for people, `/livez` `/readyz` `/startupz` for orchestrators,
 * `/version`. States are open to everybody; messages (`/readyz?verbose`) and the version need `monitoring:read`.
 */
import { type ComponentState, isReady, type Readiness } from "../health.ts";
import { type HttpReply, type HttpRoute, jsonReply } from "./http-routes.ts";

export interface HealthRoutesOptions {
  readonly readiness: Readiness;
  /** Whether migrations and the first start of all parts are done; stays true afterwards. */
  readonly isStarted: () => boolean;
  /** What `/version` shows: service version, Node version, commit … */
  readonly version: Readonly<Record<string, string>>;
}

export function healthHttpRoutes(options: HealthRoutesOptions): HttpRoute[] {
  const { readiness } = options;
  const health = (show: (component: ComponentState) => object): HttpReply => {
    const ready = isReady(readiness);
    const components = Object.fromEntries(readiness.components().map((component) => [component.name, show(component)]));
    return jsonReply(ready ? 200 : 503, { status: ready ? "ok" : "unavailable", components });
  };
  const states = (): HttpReply => health(({ ok }) => ({ status: statusText(ok) }));
  return [
    { method: "GET", path: "/health", access: "open", handle: states },
    { method: "GET", path: "/livez", access: "open", handle: () => jsonReply(200, { status: "ok" }) },
    {
      method: "GET",
      path: "/readyz",
      access: "open",
      async handle(request) {
        if (!request.query.has("verbose")) return states();
        await request.authorize("monitoring:read");
        return health(({ ok, message }) => ({ status: statusText(ok), ...(message === undefined ? {} : { message }) }));
      },
    },
    {
      method: "GET",
      path: "/startupz",
      access: "open",
      handle: () => (options.isStarted() ? jsonReply(200, { status: "ok" }) : jsonReply(503, { status: "starting" })),
    },
    { method: "GET", path: "/version", access: { scope: "monitoring:read" }, handle: () => jsonReply(200, options.version) },
  ];
}

function statusText(ok: boolean): string {
  return ok ? "ok" : "unavailable";
}
