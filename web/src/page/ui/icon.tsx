/** Line drawings of 24 by 24, in the colour of the text around them. */

/** One path each, drawn for us. */
const PATHS = {
  close: "M6 6 18 18M18 6 6 18",
  menu: "M4 7h16M4 12h16M4 17h16",
  plus: "M12 5v14M5 12h14",
  send: "M12 19V5M5.5 11.5 12 5l6.5 6.5",
  stop: "M7 7h10v10H7z",
  copy: "M9 9h10v11H9zM5 15V4h10",
  check: "m5 12.5 4.5 4.5L19 7.5",
  retry: "M19 12a7 7 0 1 1-2.2-5.1M19 4v4h-4",
  edit: "M5 19h3.5L19 8.5 15.5 5 5 15.5z",
  trash: "M5 7h14M10 7V4.5h4V7M7 7l.8 12.5h8.4L17 7",
  pin: "M9 4h6l-.8 6 3 3H6.8l3-3zM12 13v7",
  search: "M10.5 4.5a6 6 0 1 1 0 12 6 6 0 0 1 0-12M15 15l5 5",
  settings:
    "M12 8.8a3.2 3.2 0 1 1 0 6.4 3.2 3.2 0 0 1 0-6.400M10.3 3.500h3.400l.6 2.5 1.7 1 2.5-.7 1.7 3-1.9 1.700v2l1.9 1.7-1.7 3-2.5-.7-1.7 1-.6 2.500h-3.400l-.6-2.5-1.7-1-2.5.7-1.7-3 1.9-1.700v-2L3.8 9.300l1.7-3 2.5.7 1.7-1z",
  sliders: "M4 8h9M17 8h3M4 16h3M11 16h9M15 5.8v4.4M9 13.8v4.4",
  model: "M12 3.5 20 8v8l-8 4.5L4 16V8zM4 8l8 4.5L20 8M12 12.5v8",
  attach: "M15.5 9.5 9.3 15.7a2 2 0 0 1-2.83-2.83L14.07 5.27a4.2 4.2 0 0 1 5.94 5.94L11.8 19.4",
  camera: "M4 8h3.5L9 5.5h6L16.5 8H20v11H4zM12 10a3.3 3.3 0 1 1 0 6.6 3.3 3.3 0 0 1 0-6.6",
  microphone:
    "M12 4a2.5 2.5 0 0 1 2.5 2.5v5a2.5 2.5 0 0 1-5 0v-5A2.5 2.5 0 0 1 12 4M6 11.5a6 6 0 0 0 12 0M12 17.5V21",
  speaker: "M4 10v4h3.5L12 18V6L7.5 10zM15.5 9a4.2 4.2 0 0 1 0 6M18 6.5a8 8 0 0 1 0 11",
  tool: "M14.5 4.5a5 5 0 0 0-4.8 6.4L4 16.6 7.4 20l5.7-5.7a5 5 0 0 0 6.2-6.5l-3 3-2.6-.6-.6-2.6z",
  python: "m8 8-4 4 4 4M16 8l4 4-4 4M13.5 6l-3 12",
  document: "M6 3.5h8l4 4V20.5H6zM14 3.5v4h4",
  image: "M4 5h16v14H4zM4 16l4.5-4.5 4 4 2.5-2.5 5 5M9 9.5h.01",
  previous: "m14.5 6-6 6 6 6",
  next: "m9.5 6 6 6-6 6",
  down: "m6 9.5 6 6 6-6",
  more: "M6 12h.01M12 12h.01M18 12h.01",
  download: "M12 4v11M7 10.5l5 5 5-5M5 19.5h14",
  upload: "M12 15.5v-11M7 9l5-5 5 5M5 19.5h14",
  pause: "M9 6v12M15 6v12",
  play: "M8 5.5v13l10.5-6.5z",
  info: "M12 4a8 8 0 1 1 0 16 8 8 0 0 1 0-16M12 11v5M12 8h.01",
  warning: "M12 4.5 21 19.5H3zM12 10v4.5M12 17h.01",
  server: "M5 5h14v5.5H5zM5 13.5h14V19H5zM8 7.8h.01M8 16.3h.01",
  chip: "M7.5 7.5h9v9h-9zM10 4v3.5M14 4v3.5M10 16.5V20M14 16.5V20M4 10h3.5M4 14h3.5M16.5 10H20M16.5 14H20",
  branch: "M7 5v14M7 14c6 0 10-2 10-7M14.5 8.5 17 6l2.5 2.5",
  book: "M5 5h6a2 2 0 0 1 1 1.5A2 2 0 0 1 13 5h6v13h-6a1 1 0 0 0-1 1 1 1 0 0 0-1-1H5zM12 6.5V19",
} as const;

export type IconName = keyof typeof PATHS;

/** Says nothing to screen readers: what it stands beside, or its button's label, does. */
export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}
