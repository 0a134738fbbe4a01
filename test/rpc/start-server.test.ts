/** What keeps the port from opening, and how that is said. */
import { expect, test } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import { createAuth } from "../../src/rpc/interceptors/auth.ts";
import { startServer } from "../../src/rpc/server/start-server.ts";
import { startTestServer } from "./server-fixture.ts";

test("a port in use is said in one sentence", async () => {
  const server = await startTestServer();
  await expect(startTestServer({}, { port: server.port })).rejects.toThrow(
    `Port ${server.port} on 127.0.0.1 is already in use. Stop the program that uses it, or set PORT to another one.`,
  );
  await server.stop();
});

test("an rpc without a policy keeps the server from starting", async () => {
  const { Health } = await import("#gen/grpc/health/v1/health_pb.js");
  const policies = new Map();
  const auth = createAuth({ policies, clock: systemClock, authenticate: () => Promise.reject(new Error("unused")) });
  const starting = startServer({
    host: "127.0.0.1",
    port: 0,
    policies,
    auth,
    http: [],
    interceptors: [],
    log: silentLog,
    clock: systemClock,
    routes: (router) => void router.service(Health, {}),
  });
  await expect(starting).rejects.toThrow("grpc.health.v1.Health/Check");
});
