/** Starts a participant as a process of its own and reads its ledger. */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { quick } from "./steps.ts";

export interface ParticipantCall {
  readonly saga: string;
  readonly step: string;
  readonly op: "action" | "compensate" | "confirm";
  readonly key: string;
  readonly attempt: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly mayNotHaveRun: boolean;
  readonly generation: number;
  readonly input: JsonValue;
}

export interface Ledger {
  readonly calls: readonly ParticipantCall[];
  /** Effects that stand, as saga/step. */
  readonly standing: readonly string[];
  readonly undone: readonly string[];
  readonly ended: readonly JsonObject[];
  /** Steps whose outcome was asked for by QueryStep, as saga/step. */
  readonly queries: readonly string[];
}

export interface Participant {
  readonly grpcTarget: string;
  readonly httpUrl: string;
  /** Entries for PAWF_EGRESS_ALLOW. */
  readonly addresses: readonly string[];
  ledger(): Promise<Ledger>;
  /** Answers to come by "step op", from the front: an outcome, a gRPC or HTTP code, or "lost" (acts, and the answer is lost). */
  script(answers: Readonly<Record<string, readonly JsonValue[]>>): Promise<void>;
  prepared(states: readonly number[]): Promise<void>;
  /** A step whose action and undo are calls of SagaParticipant. */
  grpcStep(name: string, more?: JsonObject): JsonObject;
  httpStep(name: string, more?: JsonObject): JsonObject;
  kill(): Promise<void>;
}

const script = fileURLToPath(new URL("participant-process.ts", import.meta.url));

export async function startParticipant(): Promise<Participant> {
  const child: ChildProcess = spawn(process.execPath, [script], { stdio: ["ignore", "pipe", "inherit"] });
  const kill = (): void => void child.kill("SIGKILL");
  process.once("exit", kill);
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  void exited.then(() => process.off("exit", kill));
  if (!child.stdout) throw new Error("no output");
  const lines = createInterface({ input: child.stdout });
  const ports = await new Promise<{ http: number; grpc: number }>((resolve, reject) => {
    lines.once("line", (line) => resolve(JSON.parse(line) as { http: number; grpc: number }));
    void exited.then(() => reject(new Error("the participant ended before it served")));
  });
  const httpUrl = `http://127.0.0.1:${ports.http}`;
  const grpcTarget = `dns:///127.0.0.1:${ports.grpc}`;
  const post = async (path: string, body: unknown): Promise<void> => {
    await fetch(`${httpUrl}${path}`, { method: "POST", body: JSON.stringify(body) });
  };
  const shared = { action_retry: { ...quick, maximum_attempts: 3 }, compensation_retry: quick };
  return {
    grpcTarget,
    httpUrl,
    addresses: [`127.0.0.1:${ports.http}`, `127.0.0.1:${ports.grpc}`],
    ledger: async () => (await (await fetch(`${httpUrl}/ledger`)).json()) as Ledger,
    script: (answers) => post("/script", answers),
    prepared: (states) => post("/prepared", { states }),
    grpcStep: (name, more = {}) => ({ name, action: { grpc: { target: grpcTarget, plaintext: true, participant: true } }, ...shared, ...more }),
    httpStep: (name, more = {}) => ({
      name,
      action: { http: { method: "POST", url: `${httpUrl}/steps/${name}/action` } },
      compensation: { http: { method: "POST", url: `${httpUrl}/steps/${name}/compensate` } },
      ...shared,
      ...more,
    }),
    async kill() {
      kill();
      await exited;
    },
  };
}
