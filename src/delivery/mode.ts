export const DELIVERY_MODES = ['live', 'sandbox', 'hold'] as const;

/**
 * `live` sends messages. `sandbox` stores them in the sandbox mailbox and sends nothing. `hold` keeps them in the queue
 * until the mode changes.
 */
export type DeliveryMode = (typeof DELIVERY_MODES)[number];

/** Delivery mode of this process. An operator can change it at run time. */
export interface ProcessMode {
  current: DeliveryMode;
  /** Notifies the dispatcher; absent if this process runs none. */
  onChanged?: () => void;
}

/** Returns the stricter of both modes. A tenant can restrict the mode of the process, but not relax it. */
export function stricterMode(process: DeliveryMode, tenant: DeliveryMode | null): DeliveryMode {
  if (tenant === null) return process;
  return DELIVERY_MODES.indexOf(tenant) > DELIVERY_MODES.indexOf(process) ? tenant : process;
}

/** Levels at which a delivery mode can be set. */
export const MODE_OWNERS = ['process', 'tenant'] as const;
export type ModeOwner = (typeof MODE_OWNERS)[number];

/** The mode in force for a tenant, and the modes from which it results. */
export interface EffectiveMode {
  mode: DeliveryMode;
  process: DeliveryMode;
  /** Mode of the tenant; null when it has not set one. */
  tenant: DeliveryMode | null;
  /** Levels whose mode is not `live`. Empty when the mode in force is `live`. */
  limitedBy: ModeOwner[];
}

export function effectiveMode(process: DeliveryMode, tenant: DeliveryMode | null): EffectiveMode {
  const mode = stricterMode(process, tenant);
  const modes = { process, tenant };
  return { mode, ...modes, limitedBy: mode === 'live' ? [] : MODE_OWNERS.filter((owner) => modes[owner] === mode) };
}
