// The neighbourhood of a concept as a small drawing: the server gives positions, this moves nodes to them and listens.
// Pointing at a node (or focusing it) lights its edges up; a click or Enter walks on; arrow keys go to the nearest node that way.
(() => {
  "use strict";
  const SVG = "http://www.w3.org/2000/svg";
  const calm = matchMedia("(prefers-reduced-motion: reduce)");

  function make(name, attributes = {}, parent = null) {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (parent) parent.append(element);
    return element;
  }

  class ConceptMap {
    constructor(place) {
      this.place = place;
      this.svg = make("svg", { class: "map", role: "group" }, place);
      this.lines = make("g", { class: "edges" }, this.svg);
      this.pills = make("g", { class: "nodes" }, this.svg);
      this.nodes = new Map();
      this.edges = new Map();
      new ResizeObserver(() => this.data && this.width() !== this.shown && this.draw(this.data)).observe(place);
    }

    width() {
      return this.place.clientWidth && this.place.clientWidth < 600 ? "narrow" : "wide";
    }

    draw(data) {
      const origin = this.nodes.get(data.centre);
      const from = origin ? { x: origin.x, y: origin.y } : null;
      this.data = data;
      this.shown = this.width();
      const layout = data.layouts[this.shown];
      const [width, height] = layout.size;
      this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
      this.svg.setAttribute("aria-label", data.label);
      // The narrow picture holds fewer nodes.
      const items = data.nodes.slice(0, layout.positions.length);
      const keys = new Set(items.map((node) => node.key));
      for (const [key, node] of this.nodes) {
        if (!keys.has(key)) {
          node.element.remove();
          this.nodes.delete(key);
        }
      }
      items.forEach((item, index) => {
        const node = this.nodes.get(item.key) || this.add(item, from || { x: width / 2, y: height / 2 });
        const [x, y] = layout.positions[index];
        Object.assign(node, { fromX: node.x, fromY: node.y, toX: x, toY: y });
        this.dress(node, item, data);
        this.pills.append(node.element);
      });
      const wanted = new Set();
      const strongest = Math.max(...data.edges.map((edge) => edge[2]), 1);
      for (const [a, b, weight] of data.edges) {
        if (!keys.has(a) || !keys.has(b)) continue;
        const name = [a, b].sort().join("\u0000");
        wanted.add(name);
        const edge = this.edges.get(name) || { a, b, element: make("line", {}, this.lines) };
        const central = a === data.centre || b === data.centre;
        edge.element.setAttribute("class", central ? "edge central" : "edge");
        edge.element.setAttribute("stroke-width", (0.8 + 1.8 * Math.max(0, weight / strongest)).toFixed(2));
        this.edges.set(name, edge);
      }
      for (const [name, edge] of this.edges) {
        if (!wanted.has(name)) {
          edge.element.remove();
          this.edges.delete(name);
        }
      }
      this.light(null);
      this.move();
    }

    add(item, at) {
      const element = make("g", { class: "node", tabindex: "0", role: "link" });
      make("rect", { rx: 15, ry: 15 }, element);
      make("text", { "text-anchor": "middle", "dominant-baseline": "central" }, element);
      make("title", {}, element);
      const node = { key: item.key, element, x: at.x, y: at.y };
      element.addEventListener("click", () => window.mianpu.openConcept(item.key));
      element.addEventListener("keydown", (event) => this.key(event, node));
      for (const type of ["pointerenter", "focus"]) element.addEventListener(type, () => this.light(item.key));
      for (const type of ["pointerleave", "blur"]) element.addEventListener(type, () => this.light(null));
      this.nodes.set(item.key, node);
      return node;
    }

    dress(node, item, data) {
      const height = item.ring === 0 ? 36 : 30;
      node.element.setAttribute("class", `node ring-${item.ring}`);
      node.element.setAttribute("aria-label", item.title);
      node.element.dataset.key = item.key;
      if (item.key === data.centre) node.element.setAttribute("aria-current", "true");
      else node.element.removeAttribute("aria-current");
      const [box, label, title] = node.element.children;
      box.setAttribute("x", -item.width / 2);
      box.setAttribute("y", -height / 2);
      box.setAttribute("width", item.width);
      box.setAttribute("height", height);
      label.textContent = item.label;
      title.textContent = item.title;
    }

    move() {
      cancelAnimationFrame(this.frame);
      const started = performance.now();
      const length = calm.matches ? 0 : 420;
      const step = (now) => {
        const t = length ? Math.min(1, Math.max(0, (now - started) / length)) : 1;
        const eased = 1 - (1 - t) ** 3;
        for (const node of this.nodes.values()) {
          node.x = node.fromX + (node.toX - node.fromX) * eased;
          node.y = node.fromY + (node.toY - node.fromY) * eased;
          node.element.setAttribute("transform", `translate(${node.x.toFixed(1)} ${node.y.toFixed(1)})`);
        }
        for (const { a, b, element } of this.edges.values()) {
          const [one, other] = [this.nodes.get(a), this.nodes.get(b)];
          element.setAttribute("x1", one.x.toFixed(1));
          element.setAttribute("y1", one.y.toFixed(1));
          element.setAttribute("x2", other.x.toFixed(1));
          element.setAttribute("y2", other.y.toFixed(1));
        }
        if (t < 1) this.frame = requestAnimationFrame(step);
      };
      step(started);
    }

    light(key) {
      this.svg.classList.toggle("lit", key !== null);
      const near = new Set([key]);
      for (const { a, b, element } of this.edges.values()) {
        const on = a === key || b === key;
        element.classList.toggle("on", on);
        if (on) near.add(a).add(b);
      }
      for (const node of this.nodes.values()) node.element.classList.toggle("on", near.has(node.key));
    }

    key(event, node) {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        window.mianpu.openConcept(node.key);
        return;
      }
      const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!way) return;
      event.preventDefault();
      let best = null;
      for (const other of this.nodes.values()) {
        const [dx, dy] = [other.toX - node.toX, other.toY - node.toY];
        const along = dx * way[0] + dy * way[1];
        const across = Math.abs(dx * way[1]) + Math.abs(dy * way[0]);
        if (along > 1 && (!best || along + 2 * across < best.cost)) best = { other, cost: along + 2 * across };
      }
      if (best) best.other.element.focus();
    }
  }

  window.mianpu.drawMap = (place, data) => {
    place.map ||= new ConceptMap(place);
    place.map.draw(data);
  };
})();
