/** Every channel that an event may name. `channels/registry.ts` lists the providers of each. */
export const CHANNELS = ['email', 'sms', 'push', 'in_app', 'webhook', 'zalo'] as const;

export type Channel = (typeof CHANNELS)[number];
