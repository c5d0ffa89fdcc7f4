/** Shapes in pixels of the scene: [column, row]. */

/** The points of a label, whatever its kind; of a polygon its outer ring without the point that closes it. */
export function vertices({ kind, coordinates }) {
  if (kind === "point") return [coordinates];
  if (kind !== "polygon") return coordinates;
  const ring = coordinates[0];
  const [first, last] = [ring[0], ring.at(-1)];
  return ring.length > 1 && first[0] === last[0] && first[1] === last[1] ? ring.slice(0, -1) : ring;
}

/** The coordinates of a label of a kind through points; holes of a polygon stay. */
export function coordinatesOf(kind, points, before = null) {
  if (kind === "point") return points[0];
  return kind === "polygon" ? [points, ...(before ?? []).slice(1)] : points;
}

/** Coordinates moved by columns and rows, however deep they lie. */
export const moved = (coordinates, by) =>
  typeof coordinates[0] === "number"
    ? [coordinates[0] + by[0], coordinates[1] + by[1]]
    : coordinates.map((own) => moved(own, by));

/** Fewest points that a kind can have. */
export const FEWEST = { point: 1, line: 2, polygon: 3, brush: 1 };

/** The middle of the points of a label. */
export function middle(label) {
  const all = vertices(label);
  return [0, 1].map((axis) => all.reduce((sum, own) => sum + own[axis], 0) / all.length);
}

const between = (a, b) => [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];

/** Middles of the sides of a line or polygon, with the index that a point put there would have. */
export function sides({ kind, coordinates }) {
  if (kind !== "line" && kind !== "polygon") return [];
  const all = vertices({ kind, coordinates });
  const ends = kind === "polygon" ? all.length : all.length - 1;
  return Array.from({ length: ends }, (_, index) => ({
    index: index + 1,
    at: between(all[index], all[(index + 1) % all.length]),
  }));
}

function fromSide([x, y], [ax, ay], [bx, by]) {
  const [dx, dy] = [bx - ax, by - ay];
  const along = Math.min(1, Math.max(0, ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy || 1)));
  return Math.hypot(x - ax - along * dx, y - ay - along * dy);
}

function inside([x, y], ring) {
  let odd = false;
  for (let i = 0, j = ring.length - 1; i < ring.length; j = i, i += 1) {
    const [[ax, ay], [bx, by]] = [ring[i], ring[j]];
    if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) odd = !odd;
  }
  return odd;
}

/** How far a place is from a label, in pixels: 0 within it. */
function distance(place, label) {
  const all = vertices(label);
  if (label.kind === "polygon" && inside(place, all)) return 0;
  const ring = label.kind === "polygon" ? [...all, all[0]] : all;
  if (ring.length === 1)
    return Math.max(0, Math.hypot(place[0] - all[0][0], place[1] - all[0][1]) - (label.width ?? 0) / 2);
  const nearest = Math.min(...ring.slice(1).map((own, index) => fromSide(place, ring[index], own)));
  return Math.max(0, nearest - (label.width ?? 0) / 2);
}

/** The label nearest to a place, of those within `reach` pixels; the newest of equals. */
export function nearest(place, labels, reach) {
  let [best, found] = [reach, null];
  for (const label of labels) {
    const own = distance(place, label);
    if (own <= best) [best, found] = [own, label];
  }
  return found;
}
