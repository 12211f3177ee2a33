import type { FastifyInstance } from 'fastify';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';

import type { Channel } from '../intake/channel.ts';

/** The terminal state of a delivery. */
export interface DeliveryOutcome {
  tenantId: string;
  channel: Channel | undefined;
  templateId: string | undefined;
  status: string;
  /** Time since the event was due, in milliseconds. */
  durationMs: number;
}

export interface Metrics {
  received(tenantId: string): void;
  settled(outcome: DeliveryOutcome): void;
  /** Records the duration of a transaction, including the wait for a connection, in milliseconds. */
  databaseLatency(ms: number): void;
  configLoadError(): void;
  circuit(key: { tenantId: string; channel: Channel; provider: string }, state: 'closed' | 'open' | 'half_open'): void;
  registry: Registry;
}

/** Maximum number of values of one label. Further values are counted as `other`, which bounds the number of series. */
const MAX_LABEL_VALUES = 200;
const OTHER = 'other';

const CIRCUIT_STATES = { closed: 0, half_open: 1, open: 2 } as const;

export interface MetricsOptions {
  /** Counts deliveries that are not in a terminal state, by status. Called at each scrape. */
  queueSize: () => Promise<{ status: string; size: number }[]>;
}

export function createMetrics({ queueSize }: MetricsOptions): Metrics {
  const registry = new Registry();
  const registers = [registry];
  const tenant = boundedLabel();
  const template = boundedLabel();
  const labelNames = ['tenant_id', 'channel', 'template_id', 'status'] as const;
  const counter = (name: string, help: string) => new Counter({ name, help, labelNames, registers });

  const received = new Counter({
    name: 'notif_event_received_total',
    help: 'Accepted events, without duplicates.',
    labelNames: ['tenant_id'],
    registers,
  });
  const success = counter('notif_sent_success_total', 'Notifications that were sent by any channel.');
  const failed = counter('notif_sent_failed_total', 'Notifications that ended without being sent.');
  const fallback = counter('notif_sent_fallback_total', 'Notifications that were sent by a fallback channel.');
  const duration = new Histogram({
    name: 'notif_delivery_duration_ms',
    help: 'Time from the due time of an event to its terminal state, in milliseconds.',
    labelNames: ['channel', 'status'],
    buckets: [10, 25, 50, 100, 250, 500, 1_000, 2_000, 5_000, 15_000, 60_000, 600_000],
    registers,
  });
  const latency = new Histogram({
    name: 'notif_db_latency_ms',
    help: 'Duration of transactions of this process, in milliseconds.',
    buckets: [1, 2, 5, 10, 25, 50, 100, 250, 1_000, 5_000],
    registers,
  });
  const configErrors = new Counter({
    name: 'notif_config_load_errors_total',
    help: 'Invalid tenant files. The last valid version of the file stays in use.',
    registers,
  });
  const circuits = new Gauge({
    name: 'notif_circuit_state',
    help: 'State of the circuit breaker of a provider and tenant in this process: 0 closed, 1 half open, 2 open.',
    labelNames: ['tenant_id', 'channel', 'provider'],
    registers,
  });
  const queue = new Gauge({
    name: 'notif_queue_size',
    help: 'Notifications that are not in a terminal state.',
    labelNames: ['status'],
    registers,
    collect: async () => {
      const sizes = await queueSize().catch(() => []);
      queue.reset();
      for (const { status, size } of sizes) queue.set({ status }, size);
    },
  });

  return {
    registry,
    received: (tenantId) => received.inc({ tenant_id: tenant(tenantId) }),
    settled: ({ tenantId, channel = 'none', templateId, status, durationMs }) => {
      const labels = {
        tenant_id: tenant(tenantId),
        channel,
        template_id: templateId === undefined ? 'none' : template(templateId),
        status,
      };
      const isSent = status === 'sent' || status === 'sent_fallback';
      if (isSent) success.inc(labels);
      // A suppressed notification is not a failure.
      else if (status !== 'suppressed') failed.inc(labels);
      if (status === 'sent_fallback') fallback.inc(labels);
      duration.observe({ channel, status }, durationMs);
    },
    databaseLatency: (ms) => latency.observe(ms),
    configLoadError: () => configErrors.inc(),
    circuit: ({ tenantId, channel, provider }, state) =>
      circuits.set({ tenant_id: tenant(tenantId), channel, provider }, CIRCUIT_STATES[state]),
  };
}

function boundedLabel(): (value: string) => string {
  const known = new Set<string>();
  return (value) => {
    if (known.has(value)) return value;
    if (known.size >= MAX_LABEL_VALUES) return OTHER;
    known.add(value);
    return value;
  };
}

/** Serves `/metrics` in the Prometheus text format. */
export async function metricsRoutes(app: FastifyInstance, { metrics }: { metrics: Metrics }): Promise<void> {
  app.get('/metrics', async (_request, reply) =>
    reply.header('content-type', metrics.registry.contentType).send(await metrics.registry.metrics()),
  );
}
