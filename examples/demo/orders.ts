/** The orders of `examples/data/orders.json`, as inputs of executions. */
import { readFileSync } from "node:fs";

export interface Order {
  readonly order_id: string;
  readonly payment_token: string;
  readonly country: string;
  readonly [field: string]: string;
}

const orders = JSON.parse(readFileSync(new URL("../data/orders.json", import.meta.url), "utf8")) as readonly Order[];

export function readOrder(orderId: string): Order {
  const order = orders.find((candidate) => candidate.order_id === orderId);
  if (!order) throw new Error(`examples/data/orders.json has no order ${orderId}`);
  return order;
}
