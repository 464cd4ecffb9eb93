"""Package metadata; tool settings live in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
version = {}
exec((ROOT / "tf_distilbert" / "version.py").read_text(encoding="utf-8"), version)

TESTS = ["pytest>=8", "pytest-xdist>=3.6", "ruff>=0.9", "hypothesis>=6.100"]
# What metrics are checked against.
TESTS += ["scikit-learn>=1.5", "scipy>=1.13"]
# What other projects compute, to compare with; torch is needed by nothing else.
PARITY = ["torch>=2.6", "transformers>=5.0", "sentence-transformers>=5.0"]
# What is timed beside this project.
BENCHMARK = [*PARITY, "onnx>=1.16", "onnxruntime>=1.18"]
# Formats of other runtimes, and what runs them.
LITERT = ["ai-edge-litert>=2.0"]
ONNX = ["tf2onnx>=1.17", "onnx>=1.16", "onnxruntime>=1.18"]
OPENVINO = [*ONNX, "openvino>=2025.0"]
# What TensorFlow Serving's clients speak; for the tests of exports.
SERVING = ["tensorflow-serving-api>=2.20,<2.22"]
# Corpus preparation on many machines. It wants protobuf<7, others want 7: docs/prepare.md.
BEAM = ["apache-beam>=2.77"]
# The other backend of the training core; jax[cuda12] and jax[tpu] bring what a device needs.
JAX = ["jax>=0.8"]
# Pictures of results, and the page of a report.
REPORT = ["matplotlib>=3.8", "Jinja2>=3.1"]
# These pages as a site.
DOCS = ["mkdocs>=1.6,<2", "mkdocs-material>=9.5,<10", "mkdocstrings[python]>=0.27"]
# What reads the code without running it, and what builds and looks at distributions.
LINT = ["ruff>=0.9", "mypy>=1.18", "types-PyYAML", "types-protobuf", "build>=1.2", "twine>=6"]
# The page that shows teacher and student side by side; a browser's driver, for its tests.
DEMO = ["gradio>=6.0"]
BROWSER = ["playwright>=1.50"]
# What runs notebooks/ from the command line; for their tests.
NOTEBOOK = ["nbclient>=0.10", "nbformat>=5.10", "ipykernel>=6.29"]
# MeCab and the two dictionaries that Japanese BERTs were trained with.
JAPANESE = ["fugashi>=1.3", "ipadic>=1.0", "unidic-lite>=1.0"]

setup(
    name="tf_distilbert",
    version=version["__version__"],
    description="Distil a BERT teacher into a DistilBERT student with Keras 3 and TensorFlow",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    author="The tf_distilbert contributors",
    keywords="bert distilbert roberta knowledge-distillation keras tensorflow nlp transformers",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Text Processing :: Linguistic",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    # With the folders that a checkout has at its top level, so that an installed package has them.
    packages=[
        *find_packages(include=["tf_distilbert", "tf_distilbert.*"]),
        "tf_distilbert.configs",
        "tf_distilbert.saved_models",
    ],
    package_dir={
        "tf_distilbert.configs": "configs",
        "tf_distilbert.saved_models": "saved_models",
    },
    package_data={
        "tf_distilbert": ["py.typed"],
        "tf_distilbert.configs": ["*.yaml"],
        "tf_distilbert.report": ["page.html", "style.css"],
        "tf_distilbert.saved_models": ["sample_teacher/*"],
    },
    install_requires=[
        "tensorflow>=2.20,<2.22",
        "tensorflow-text>=2.20,<2.22",
        "keras>=3.12",
        "keras-nlp>=0.20",
        "tensorflow-datasets>=4.9.6",
        "importlib_resources>=6",  # tensorflow-datasets imports it without declaring it
        "tokenizers>=0.20",
        "safetensors>=0.4.5",
        "numpy",
        "ml_dtypes",
        "huggingface_hub>=0.30",
        "PyYAML>=6",
        "rich>=13",
        "tensorboard>=2.20",
    ],
    extras_require={
        "tests": TESTS,
        "parity": PARITY,
        "japanese": JAPANESE,
        "benchmark": BENCHMARK,
        "litert": LITERT,
        "onnx": ONNX,
        "openvino": OPENVINO,
        "serving": SERVING,
        "beam": BEAM,
        "jax": JAX,
        "report": REPORT,
        "docs": DOCS,
        "lint": LINT,
        "demo": DEMO,
        "browser": BROWSER,
        "notebook": NOTEBOOK,
    },
    entry_points={"console_scripts": ["tf-distilbert = tf_distilbert.cli.main:main"]},
)
