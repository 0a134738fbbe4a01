/** The three sibling services of `examples/siblings`, each a process of its own. */
import { fileURLToPath } from "node:url";
import type { Effect, LedgerView } from "../siblings/ledger.ts";
import { type Child, startChild } from "./child.ts";

export type SiblingName = "orders" | "payments" | "webhook-sink";

export interface Siblings {
  readonly names: readonly SiblingName[];
  url(name: SiblingName): string;
  /** `host:port` of each, for the service's allow-list. */
  readonly hosts: readonly string[];
  ledger(name: SiblingName, withLists?: boolean): Promise<LedgerView>;
  /** Effects of one execution in all siblings, in the order of their moments. */
  effectsOf(sagaId: string): Promise<Effect[]>;
  stop(): Promise<void>;
}

const names: readonly SiblingName[] = ["orders", "payments", "webhook-sink"];

/** `latencyMs` is how long the orders API takes for a call that acts. */
export async function startSiblings(latencyMs: number, onExit: (name: string) => void): Promise<Siblings> {
  const children = new Map<SiblingName, Child>();
  await Promise.all(
    names.map(async (name) => {
      const file = fileURLToPath(new URL(`../siblings/${name}.ts`, import.meta.url));
      const latency = name === "orders" ? ["--latency-ms", String(latencyMs)] : [];
      children.set(name, await startChild({ name, command: [file, ...latency], onExit }));
    }),
  );
  const url = (name: SiblingName): string => `http://127.0.0.1:${children.get(name)?.ready["port"]}`;
  const ledger = async (name: SiblingName, withLists = true): Promise<LedgerView> => {
    const response = await fetch(`${url(name)}/ledger${withLists ? "" : "?summary"}`);
    return (await response.json()) as LedgerView;
  };
  return {
    names,
    url,
    hosts: names.map((name) => url(name).replace("http://", "")),
    ledger,
    async effectsOf(sagaId) {
      const ledgers = await Promise.all(names.map((name) => ledger(name)));
      return ledgers.flatMap(({ effects }) => effects.filter((effect) => effect.sagaId === sagaId)).sort((a, b) => a.at - b.at);
    },
    async stop() {
      await Promise.all([...children.values()].map((child) => child.stop()));
    },
  };
}
