import * as L from "/static/leaflet/leaflet-src.esm.js";
import { post } from "./api.js";
import { byId, settled } from "./dom.js";
import { state } from "./state.js";

// A place is [column, row] in pixels; to Leaflet, "latitude" is the row and rows go down.
const PIXELS = L.extend({}, L.CRS.Simple, { transformation: new L.Transformation(1, 0, 1, 0) });
const CLOSEST = 5; // a pixel of the scene is 32 on the screen

export const toMap = ([column, row]) => [row, column];
export const toPlace = ({ lat, lng }) => [lng, lat];

const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;

export const map = L.map("map", {
  crs: PIXELS,
  maxZoom: CLOSEST,
  keyboard: false,
  attributionControl: false,
  zoomControl: false,
  zoomAnimation: !calm,
  fadeAnimation: false,
  inertia: !calm,
  doubleClickZoom: false,
  preferCanvas: true,
});
L.control.zoom({ position: "bottomright" }).addTo(map);
map.createPane("background").style.zIndex = 100;
map.createPane("scene").style.zIndex = 200;
map.createPane("left").style.zIndex = 300;
map.createPane("right").style.zIndex = 310;

let tiles = null;

/** Show the scene, all of it. */
export function openScene() {
  const { width, height, tile, levels } = state.project.scene;
  const bounds = L.latLngBounds([0, 0], [height, width]);
  map.setMinZoom(-levels - 1);
  map.setMaxBounds(bounds.pad(0.5));
  map.fitBounds(bounds, { animate: false });
  tiles = L.tileLayer("/tiles/scene/{z}/{x}/{y}.webp", {
    pane: "scene",
    tileSize: tile,
    zoomOffset: levels - 1,
    minZoom: -levels - 1,
    maxZoom: CLOSEST,
    minNativeZoom: 1 - levels,
    maxNativeZoom: 0,
    bounds,
    noWrap: true,
    keepBuffer: 1,
  }).addTo(map);
  map.on("zoomend", sharpen);
  map.on("moveend resize", looked);
  new ResizeObserver(() => map.invalidateSize({ pan: false })).observe(byId("stage"));
  sharpen();
  looked();
}

/** Show the scene in other bands and another stretch. */
export const lookAt = (query) => tiles.setUrl(`/tiles/scene/{z}/{x}/{y}.webp?${query}`);

/** How opaque the scene is. */
export const sceneOpacity = (value) => tiles.setOpacity(value);

/** Pixels of the scene in one of the screen. */
export const pixelsAcross = (screen) => screen / 2 ** map.getZoom();

// From here on pixels are shown as squares.
const sharpen = () => map.getContainer().classList.toggle("pixels", map.getZoom() > 0);

/** The visible pixels of the scene, [column, row, column, row]; null where none are. */
export function visible() {
  const { width, height } = state.project.scene;
  const [west, north] = toPlace(map.containerPointToLatLng([0, 0]));
  const [east, south] = toPlace(map.containerPointToLatLng(map.getSize()));
  const window = [
    Math.max(0, Math.floor(west)),
    Math.max(0, Math.floor(north)),
    Math.min(width, Math.ceil(east)),
    Math.min(height, Math.ceil(south)),
  ];
  return window[0] < window[2] && window[1] < window[3] ? window : null;
}

// The server maps what is seen; a page that pans away asks for nothing that it has left.
export const looked = settled(120, () => {
  const window = visible();
  if (window) post("/api/view", { window, applicable: state.applicable }).catch(() => {});
});
