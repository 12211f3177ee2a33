import type { Database } from '../database/database.ts';
import { validationFailed } from '../errors.ts';
import type { Actor } from '../identity/actor.ts';
import type { Bus } from '../live/bus.ts';
import type { Log } from '../log.ts';
import type { TenantSettingsSource } from '../tenants/settings.ts';
import { findCircuits, type ProviderCircuit } from './circuit-breaker-report.ts';
import { explainDelivery, type Explanation, type HypotheticalEvent } from './explain.ts';
import { type DeliveryMode, type EffectiveMode, effectiveMode, type ProcessMode } from './mode.ts';
import type { PlanBatchOptions } from './plan-batch.ts';
import { retryNotification } from './replay.ts';
import { deliveryStatistics, type Dimension, type Statistic, type StatisticsRange } from './statistics.ts';

/** Delivery operations of admins and operators. */
export interface DeliveryControl {
  /** @throws `not_found`, `conflict` */
  retry(actor: Actor, logId: string, traceId: string): Promise<void>;
  /** @throws `validation_failed` */
  explain(actor: Actor, event: HypotheticalEvent): Promise<Explanation>;
  /** @throws `validation_failed` */
  statistics(tenantId: string, range: StatisticsRange, groupBy: readonly Dimension[]): Promise<Statistic[]>;
  circuits(tenantId: string): Promise<ProviderCircuit[]>;
  /** Returns the mode in force for a tenant in this process. */
  mode(tenantId: string): Promise<EffectiveMode>;
  /** Sets the delivery mode of a tenant in all processes. @returns the mode in force for the tenant. */
  setTenantMode(actor: Actor, mode: DeliveryMode, traceId: string): Promise<DeliveryMode>;
  /** Sets the delivery mode of this process until it exits. @throws `validation_failed` if this process runs no dispatcher. */
  setProcessMode(mode: DeliveryMode): DeliveryMode;
}

export interface DeliveryControlOptions {
  database: Database;
  bus: Bus;
  settings: Pick<TenantSettingsSource, 'load' | 'save'>;
  /** The options that the dispatcher plans with, so that an explanation gives the same result. */
  planning: PlanBatchOptions;
  processMode: ProcessMode;
  log: Log;
}

export function createDeliveryControl({
  database,
  bus,
  settings,
  planning,
  processMode,
  log,
}: DeliveryControlOptions): DeliveryControl {
  return {
    retry: (actor, logId, traceId) => retryNotification({ database, bus }, actor, logId, traceId),
    explain: (actor, event) => explainDelivery(planning, actor, event),
    statistics: (tenantId, range, groupBy) => deliveryStatistics(database, tenantId, range, groupBy),
    circuits: (tenantId) => findCircuits(database, tenantId),
    mode: async (tenantId) => {
      const tenant = (await settings.load([tenantId])).get(tenantId);
      return effectiveMode(processMode.current, tenant?.deliveryMode ?? null);
    },
    setTenantMode: async ({ tenantId, userId }, deliveryMode, traceId) => {
      await settings.save(tenantId, { deliveryMode }, { userId, traceId });
      return effectiveMode(processMode.current, deliveryMode).mode;
    },
    setProcessMode: (mode) => {
      const { current, onChanged } = processMode;
      if (!onChanged) throw validationFailed([{ path: 'process', message: 'this process delivers nothing' }]);
      log.warn({ from: current, to: mode }, 'delivery mode of this process changed');
      processMode.current = mode;
      onChanged();
      return mode;
    },
  };
}
