import type { Channel } from '../intake/channel.ts';

export interface UnsubscribeLinks {
  linkFor(subject: {
    tenantId: string;
    userId?: string | undefined;
    channel: Channel;
    address: string;
    category: string;
    logId: string;
  }): string;
}
