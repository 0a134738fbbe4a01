/** Two replicas with a shared Redis that dies, freezes and lies: everything works, and changes reach both. */
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { ExecutionState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { HealthState } from "#gen/pyairtable/workflow/v1/monitoring_pb.js";
import { createMigratedDatabase, type TestDatabase } from "../support/postgres.ts";
import { findRedisServer, startRedis, type TestRedis } from "../support/redis.ts";
import { type Clients, connect } from "./support/connect-client.ts";
import { definition, logStep, newName } from "./support/definitions.ts";
import { seconds } from "./support/fixture.ts";
import { startAnother, startHostedServer } from "./support/hosted-server.ts";
import type { RunningServer } from "./support/server.ts";

const program = await findRedisServer();

describe.skipIf(program === undefined)("two replicas with Redis", () => {
  let redis: TestRedis;
  let database: TestDatabase;
  let servers: RunningServer[] = [];
  let one: Clients;
  let other: Clients;

  beforeAll(async () => {
    redis = await startRedis(program as string);
    database = await createMigratedDatabase();
    const options = { databaseUrl: database.databaseUrl, env: { REDIS_URL: redis.url } };
    const first = await startHostedServer(options);
    servers = [first, await startAnother(first)];
    [one, other] = servers.map((server) => connect(server)) as [Clients, Clients];
  });
  afterAll(async () => {
    await Promise.all(servers.map((server) => server.stop()));
    await redis?.stop();
    await database?.drop();
  });

  const says = (message: string) => definition([logStep("say", message)]);
  const startedAt = async (clients: Clients, workflow: string) => (await clients.workflows.startExecution({ workflow, wait: seconds(50) })).execution;
  const metric = async (server: RunningServer, series: string): Promise<number> => {
    const text = await (await fetch(`${server.url}/metrics`, { headers: { authorization: `Bearer ${server.apiKey}` } })).text();
    return Number(new RegExp(`^pyairtable_workflow_${series.replace(/[{}]/g, "\\$&")} (\\S+)$`, "m").exec(text)?.[1] ?? 0);
  };

  /** A change made through one replica is what starts through the other one run. */
  async function changesReachBoth(): Promise<void> {
    const name = newName("shared");
    await one.workflows.createWorkflow({ workflow: { name, definition: says("1") } });
    expect(await startedAt(other, name)).toMatchObject({ revision: 1, state: ExecutionState.COMPLETED });
    await one.workflows.updateWorkflow({ workflow: name, changes: { definition: says("2") } });
    expect(await startedAt(one, name)).toMatchObject({ revision: 2, state: ExecutionState.COMPLETED });
    await expect.poll(async () => (await startedAt(other, name))?.revision).toBe(2);
  }

  it("each of them names both replicas and says that Redis answers", async () => {
    for (const { monitoring } of [one, other]) {
      const redisState = async () => (await monitoring.getServiceStatus({})).components.find(({ name }) => name === "redis")?.state;
      await expect.poll(redisState).toBe(HealthState.OK);
      const { replicas } = await monitoring.getServiceStatus({});
      expect(replicas.map(({ answering }) => answering).sort()).toEqual([false, true]);
    }
  });

  it("a revision that one of them has read comes to the other one from Redis", async () => {
    await changesReachBoth();
    const plain = new Redis(redis.url);
    const hits = () => metric(servers[1] as RunningServer, 'cache_reads_total{cache="redis",result="hit"}');
    // Once more when Redis did not answer in its quarter of a second: then the database was read.
    await expect
      .poll(async () => {
        const name = newName("shared");
        const known = (await plain.keys("pawf:revision:*")).length;
        await one.workflows.createWorkflow({ workflow: { name, definition: says("1") } });
        await startedAt(one, name);
        await vi.waitFor(async () => expect((await plain.keys("pawf:revision:*")).length).toBeGreaterThan(known), { timeout: 2_000 }).catch(() => undefined);
        const before = await hits();
        await startedAt(other, name);
        return (await hits()) - before;
      })
      .toBe(1);
    plain.disconnect();
  });

  it("everything goes on while it lies, is frozen, or is dead", async () => {
    const plain = new Redis(redis.url);
    for (const name of await plain.keys("pawf:*")) await plain.set(name, "a lie");
    plain.disconnect();
    await changesReachBoth();
    redis.freeze();
    await changesReachBoth();
    redis.thaw();
    await redis.kill();
    await changesReachBoth();
    expect(await metric(servers[0] as RunningServer, "redis_failures_total")).toBeGreaterThan(0);
    await redis.restart();
    await changesReachBoth();
  });
});
