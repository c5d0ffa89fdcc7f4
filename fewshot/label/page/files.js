import { byId, count, field, h } from "./dom.js";
import { attempt, say } from "./messages.js";
import { state } from "./state.js";

const FORMATS = { gpkg: "GeoPackage", geojson: "GeoJSON", csv: "CSV" };

export function openFiles() {
  const name = h("input", { type: "text", autocomplete: "off", placeholder: "class" });
  const file = h("input", {
    type: "file",
    accept: Object.keys(FORMATS)
      .map((own) => `.${own}`)
      .join(),
  });
  file.onchange = () =>
    attempt(async () => {
      const [own] = file.files;
      const came = await state.bringIn(own, name.value.trim());
      say(`${count(came, "label")} came from ${own.name}. Ctrl+Z takes them back.`);
    }).finally(() => {
      file.value = "";
    });
  const link = ([format, name]) =>
    h("li", {}, h("a", { href: `/api/export/labels.${format}`, download: `labels.${format}` }, name));
  byId("files").append(
    field("Field of the class", name),
    field("Import labels", file),
    h("h3", {}, "Export labels"),
    h("ul", { className: "downloads" }, ...Object.entries(FORMATS).map(link)),
  );
}
