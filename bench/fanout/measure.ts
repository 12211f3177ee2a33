import type { ChildProcess } from 'node:child_process';

import type { Command, Counts } from './clients.ts';
import type { Contestant, Running } from './contestant.ts';
import { ask, cpuMs, end, memoryOf, startLoad } from './processes.ts';

export interface Plan {
  subscribers: number;
  /** Number of events that are published one at a time. */
  events: number;
  /** Number of events that are published at once. */
  burst: number;
  /** Number of idle connections whose memory is measured. */
  idle: number;
}

export interface Rate {
  perSecond: number;
  /** CPU time of the server per delivered message, in microseconds. */
  cpuMicros: number;
  /** Utilization of the load generator's core, from 0 to 1. Near 1 the load generator is the bottleneck. */
  generator: number;
}

export interface Measured {
  single: Rate;
  burst: Rate;
  idleKb: number;
  /** Part of `idleKb` on the heap and in buffers. */
  idleLiveKb: number;
}

/** Minimum duration of a measurement. CPU time has a resolution of 10 ms, so a fast server needs more events. */
const AT_LEAST_MS = 2_000;
/** Connections opened before the first memory measurement, so that one-time allocations do not count. */
const IDLE_BEFORE = 500;
const TIMEOUT_MS = 120_000;

const command = (clients: ChildProcess, what: Command): Promise<Counts> => ask<Counts>(clients, what, 'delivered');

async function within<T>(work: Promise<T>, ms: number, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took longer than ${ms} ms`)), ms);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

/** One server and its clients. */
class Session {
  readonly #server: Running;
  readonly #clients: ChildProcess;
  #subscribers = 0;
  /** Number of events since the counts were reset. */
  #events = 0;
  #opened = 0;

  constructor(server: Running, clients: ChildProcess) {
    this.#server = server;
    this.#clients = clients;
  }

  async open(count: number): Promise<void> {
    const from = this.#opened;
    this.#opened += count;
    const params = Array.from({ length: count }, (_, index) => this.#server.connectionParams?.(from + index) ?? {});
    const opening = command(this.#clients, { do: 'open', target: this.#server.target, params });
    await within(opening, TIMEOUT_MS, 'connecting');
  }

  async close(): Promise<void> {
    await command(this.#clients, { do: 'close' });
    this.#opened = 0;
  }

  /** Opens idle connections and returns the memory of each, in KB. */
  async idle(count: number): Promise<Pick<Measured, 'idleKb' | 'idleLiveKb'>> {
    await this.open(IDLE_BEFORE);
    const before = await memoryOf(this.#server.process);
    await this.open(count);
    const after = await memoryOf(this.#server.process);
    await this.close();
    const each = (bytes: number): number => bytes / 1_024 / count;
    return { idleKb: each(after.rss - before.rss), idleLiveKb: each(after.live - before.live) };
  }

  /** Publishes events until every client receives them, because the protocol does not confirm subscriptions. */
  async subscribe(count: number): Promise<void> {
    await this.open(count);
    await command(this.#clients, { do: 'subscribe' });
    const deadline = performance.now() + TIMEOUT_MS;
    for (let counts = await this.#quiet(); counts.fewest === 0; counts = await this.#quiet()) {
      if (performance.now() > deadline) throw new Error('not every client receives events');
      await this.#server.publish(1);
    }
    await command(this.#clients, { do: 'forget' });
    this.#subscribers = count;
    this.#events = 0;
  }

  /** Publishes events at once and waits until every client has received all of them. */
  async deliver(count: number): Promise<void> {
    this.#events += count;
    const reached = command(this.#clients, { do: 'expect', delivered: this.#events * this.#subscribers });
    const [counts] = await within(
      Promise.all([reached, this.#server.publish(count)]),
      TIMEOUT_MS,
      `delivering ${count} events`,
    );
    if (counts.fewest !== this.#events || counts.most !== this.#events)
      throw new Error(`of ${this.#events} events one client received ${counts.fewest} and another ${counts.most}`);
  }

  async rate(work: () => Promise<void>): Promise<Rate> {
    const start = { events: this.#events, at: performance.now(), ...this.#cpu() };
    await work();
    const elapsed = performance.now() - start.at;
    const cpu = this.#cpu();
    const delivered = (this.#events - start.events) * this.#subscribers;
    return {
      perSecond: (delivered * 1_000) / elapsed,
      cpuMicros: ((cpu.server - start.server) * 1_000) / delivered,
      generator: (cpu.clients - start.clients) / elapsed,
    };
  }

  #cpu(): { server: number; clients: number } {
    return { server: cpuMs(this.#server.process), clients: cpuMs(this.#clients) };
  }

  /** Returns the counts when they have stopped changing. */
  async #quiet(): Promise<Counts> {
    for (let last = -1; ;) {
      await new Promise((resolve) => setTimeout(resolve, 250));
      const counts = await command(this.#clients, { do: 'count' });
      if (counts.delivered === last) return counts;
      last = counts.delivered;
    }
  }
}

async function repeat(times: number, work: () => Promise<void>): Promise<void> {
  for (let left = times; left > 0; left -= 1) await work();
}

async function repeatLong(work: () => Promise<void>): Promise<void> {
  const start = performance.now();
  do await work();
  while (performance.now() - start < AT_LEAST_MS);
}

/** Measures one round of one server in a new process. */
export async function measure(contestant: Contestant, plan: Plan): Promise<Measured> {
  const server = await contestant.start();
  const clients = startLoad('bench/fanout/clients.ts');
  try {
    const session = new Session(server, clients);
    const idle = await session.idle(plan.idle);
    await session.subscribe(plan.subscribers);
    // Warm-up of both ways of publishing.
    await repeat(Math.ceil(plan.events / 5), () => session.deliver(1));
    const single = await session.rate(() => repeatLong(() => repeat(plan.events, () => session.deliver(1))));
    await session.deliver(Math.ceil(plan.burst / 5));
    const burst = await session.rate(() => repeatLong(() => session.deliver(plan.burst)));
    return { single, burst, ...idle };
  } finally {
    await end(clients);
    await server.stop();
  }
}
