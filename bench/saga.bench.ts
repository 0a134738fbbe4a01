/**
 * Sagas over HTTP participants in this process: the time from a participant's completed answer to the next participant's call, and
 * sagas of three steps that fail at the third and undo two, at one and at 64 concurrent, beside the raw commit of the run and a bare
 * loop that commits one row and calls the next participant, which is the least that any coordinator in another process can do.
 */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { type Client, createClient } from "@connectrpc/connect";
import { Agent, request } from "undici";
import { SagaCoordinationService } from "#gen/pyairtable/workflow/v1/saga_coordination_service_pb.js";
import { commitOnce, measureRawCommitMs, median, round, writeResults } from "./measure.ts";
import { type Service, startService } from "./service.ts";

const concurrent = 64;
const stepNames = ["flight", "hotel", "car"];

interface Participants {
  readonly server: Server;
  readonly url: string;
  /** Milliseconds from the end of an answer to the next call of the same saga, in the order they came. */
  readonly gaps: number[];
}

export async function run(): Promise<void> {
  const participants = await startParticipants();
  const { port } = participants.server.address() as AddressInfo;
  const service = await startService({ PAWF_EGRESS_ALLOW: `127.0.0.1:${port}` });
  try {
    const sagas = createClient(SagaCoordinationService, service.transport);
    const one = (fails: boolean): Promise<number> => runSaga(service, sagas, participants.url, fails);
    for (let n = 0; n < 50; n++) await one(n % 2 === 0);
    participants.gaps.length = 0;
    // Raw commits in between: whatever else this machine does at a moment, both meet it.
    const raw: number[] = [];
    const bare: number[] = [];
    for (let n = 0; n < 150; n++) {
      await one(false);
      raw.push(await measureRawCommitMs(service.database, 3));
      const kept = participants.gaps.length;
      await runBareLoop(service, participants.url, `bare-${n}`);
      bare.push(...participants.gaps.splice(kept));
    }
    const rawCommitMs = median(raw);
    console.log(`one raw commit           ${rawCommitMs.toFixed(3)} ms (median of 450, in between)`);
    const bareMs = median(bare);
    console.log(`bare commit and call     ${bareMs.toFixed(3)} ms = ${(bareMs / rawCommitMs).toFixed(2)} raw commits`);
    const coordination = median(participants.gaps);
    const coordinationP99 = p99(participants.gaps); // here: the sagas below add to the gaps
    console.log(
      `step done → next called  ${coordination.toFixed(3)} ms = ${(coordination / rawCommitMs).toFixed(2)} raw commits, ${(coordination / bareMs).toFixed(2)} bare, p99 ${coordinationP99.toFixed(2)} ms`,
    );

    const alone: number[] = [];
    for (let n = 0; n < 100; n++) alone.push(await one(true));
    console.log(`compensated, 1 at a time ${median(alone).toFixed(2)} ms, p99 ${p99(alone).toFixed(2)} ms`);

    const together: number[] = [];
    const startedAt = performance.now();
    const until = startedAt + 10_000;
    await Promise.all(
      Array.from({ length: concurrent }, async () => {
        while (performance.now() < until) together.push(await one(true));
      }),
    );
    const rate = together.length / ((performance.now() - startedAt) / 1000);
    console.log(`compensated, ${concurrent} at once ${rate.toFixed(0)} sagas/s, p50 ${median(together).toFixed(1)} ms, p99 ${p99(together).toFixed(1)} ms`);
    writeResults("saga", {
      coordination_p50_ms: round(coordination, 3),
      bare_commit_and_call_ms: round(bareMs, 3),
      coordination_p99_ms: round(coordinationP99, 3),
      compensated_saga_p50_ms: round(median(alone), 2),
      compensated_saga_p99_ms: round(p99(alone), 2),
      compensated_sagas_per_s_64: Math.round(rate),
      compensated_saga_64_p50_ms: round(median(together), 1),
      raw_commit_ms: round(rawCommitMs, 3),
    });
  } finally {
    await service.stop();
    participants.server.closeAllConnections();
    participants.server.close();
  }
}

function p99(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * 0.99))] as number;
}

/** From the call to the known end. */
async function runSaga(service: Service, sagas: Client<typeof SagaCoordinationService>, url: string, fails: boolean): Promise<number> {
  const startedAt = performance.now();
  const endpoint = (path: string) => ({ via: { case: "http" as const, value: { method: "POST", url: `${url}/${path}` } } });
  const steps = stepNames.map((name) => ({
    name,
    action: endpoint(fails && name === "car" ? "fail" : name),
    compensation: endpoint(`undo-${name}`),
  }));
  const { saga } = await sagas.startSaga({ steps, autoComplete: true });
  await service.workflows.waitExecution({ executionId: saga?.id ?? "", timeout: { seconds: 30n } } as never);
  return performance.now() - startedAt;
}

const bareAgent = new Agent({ connections: 1 });

/** The same three calls with one small commit before each and nothing else. */
async function runBareLoop(service: Service, url: string, saga: string): Promise<void> {
  for (const [index, name] of stepNames.entries()) {
    await commitOnce(service.database, index);
    const headers = { "saga-id": saga, "saga-op": "action", "content-type": "application/json" };
    const answer = await request(`${url}/${name}`, { method: "POST", headers, dispatcher: bareAgent });
    await answer.body.json();
  }
}

async function startParticipants(): Promise<Participants> {
  const gaps: number[] = [];
  const answeredAt = new Map<string, number>();
  const server = createServer((request, response) => {
    const saga = String(request.headers["saga-id"]);
    const before = answeredAt.get(saga);
    if (before !== undefined && request.headers["saga-op"] === "action") gaps.push(performance.now() - before);
    request.resume();
    response.writeHead(request.url === "/fail" ? 422 : 200, { "content-type": "application/json" });
    response.end("{}", () => answeredAt.set(saga, performance.now()));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return { server, url: `http://127.0.0.1:${port}`, gaps };
}
