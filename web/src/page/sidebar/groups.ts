/** Conversations by when something was last said in them, as people say it. Pure. */
import type { Conversation, Time } from "../../chat/types.ts";

export type GroupName = "pinned" | "today" | "yesterday" | "week" | "earlier";

export interface Group {
  name: GroupName;
  conversations: readonly Conversation[];
}

/** Groups with something in them, in the order in which they show; each the newest first. */
export function groupsOf(conversations: readonly Conversation[], now: Time): readonly Group[] {
  const today = midnight(now, 0);
  const limits: readonly [GroupName, Time][] = [
    ["today", today],
    ["yesterday", midnight(now, -1)],
    ["week", midnight(now, -7)],
    ["earlier", -Infinity],
  ];
  const groups = new Map<GroupName, Conversation[]>([
    ["pinned", []],
    ...limits.map(([name]): [GroupName, Conversation[]] => [name, []]),
  ]);
  for (const conversation of conversations) {
    const name = conversation.isPinned
      ? "pinned"
      : limits.find(([, since]) => conversation.updatedAt >= since)?.[0];
    groups.get(name ?? "earlier")?.push(conversation);
  }
  return [...groups]
    .filter(([, inside]) => inside.length > 0)
    .map(([name, inside]) => ({
      name,
      conversations: inside.sort((one, other) => other.updatedAt - one.updatedAt),
    }));
}

/** The beginning of a day here: days are 23 or 25 hours long twice a year. */
function midnight(now: Time, days: number): Time {
  const day = new Date(now);
  return new Date(day.getFullYear(), day.getMonth(), day.getDate() + days).getTime();
}
