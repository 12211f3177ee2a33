export const DELIVERY_MODES = ['live', 'sandbox', 'hold'] as const;

/**
 * `live` sends; `sandbox` captures what would have been sent, and nothing leaves; `hold` keeps everything queued, to go
 * on later.
 */
export type DeliveryMode = (typeof DELIVERY_MODES)[number];

/** The mode of this process, which an operator may change while it runs. */
export interface ProcessMode {
  current: DeliveryMode;
  /** Tells what delivers; absent where the process delivers nothing. */
  onChanged?: () => void;
}

/** The mode in force: a tenant can be more careful than the process, never less. */
export function stricterMode(process: DeliveryMode, tenant: DeliveryMode | null): DeliveryMode {
  if (tenant === null) return process;
  return DELIVERY_MODES.indexOf(tenant) > DELIVERY_MODES.indexOf(process) ? tenant : process;
}
