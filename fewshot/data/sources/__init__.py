"""Where regions come from. A new source is one new file here and one line in `SOURCES`."""

SOURCES = {
    "omniglot": "fewshot.data.sources.omniglot:Omniglot",
    "omniglot_tfds": "fewshot.data.sources.omniglot:OmniglotTfds",
    "task_archives": "fewshot.data.sources.task_archives:TaskArchives",
    "class_folders": "fewshot.data.sources.class_folders:ClassFolders",
    "sen12ms": "fewshot.data.sources.sen12ms:Sen12ms",
    "deepglobe": "fewshot.data.sources.deepglobe:DeepGlobe",
    "scenes": "fewshot.data.sources.scene_list:Scenes",
    "synthetic": "fewshot.data.sources.synthetic:Synthetic",
    "simulated_scenes": "fewshot.data.sources.simulated_scenes:SimulatedScenes",
    "sine": "fewshot.data.sources.sine:Sine",
}
"""Where the class of each source is; it is imported when a recipe names the source."""
