"""All random calls, and how often each is made."""
import calls_datasets as datasets
import calls_models as models
import calls_search as searches
import calls_tracking as tracking
import calls_webhooks as webhooks
from differential import Call
from sequences import Sequence


def not_json(s):
    path = s.one(["runs/log-metric", "experiments/create", "runs/search", "registered-models/create", "webhooks"])
    return Call("POST", path, {}, raw=s.one(["", "{", "[]", "null", "1", "{\"a\":", "\"{}\"", "{} x"]))


WEIGHTS = {
    tracking.create_experiment: 2, tracking.get_experiment: 2, tracking.get_experiment_by_name: 1, tracking.delete_experiment: 0.5,
    tracking.restore_experiment: 1, tracking.rename_experiment: 1, tracking.set_experiment_tag: 2, tracking.delete_experiment_tag: 1,
    tracking.create_run: 5, tracking.get_run: 6, tracking.get_run_by_old_name: 0.5, tracking.update_run: 3, tracking.delete_run: 1.5,
    tracking.restore_run: 2, tracking.log_metric: 10, tracking.log_param: 5, tracking.set_tag: 5, tracking.delete_tag: 2, tracking.log_batch: 5,
    tracking.log_inputs: 3, tracking.log_outputs: 1, tracking.metric_history: 4, tracking.metric_histories: 1.5, tracking.metric_samples: 3,
    tracking.log_history: 1, tracking.log_old_model: 0.5, tracking.run_datasets: 1,
    models.create_logged_model: 2, models.get_logged_model: 2, models.finalize_logged_model: 1, models.delete_logged_model: 0.4,
    models.set_logged_model_tags: 1, models.delete_logged_model_tag: 0.7, models.log_logged_model_params: 1, models.logged_model_files: 0.3,
    models.create_model: 3, models.get_model: 3, models.rename_model: 0.7, models.update_model: 1, models.delete_model: 0.4, models.set_model_tag: 2,
    models.delete_model_tag: 1, models.latest_versions: 2, models.set_alias: 3, models.delete_alias: 1, models.get_alias: 2, models.create_version: 6,
    models.get_version: 3, models.update_version: 1, models.delete_version: 1, models.transition: 2, models.set_version_tag: 2,
    models.delete_version_tag: 1, models.download_uri: 1,
    searches.search_runs: 16, searches.search_experiments: 4, searches.search_logged_models: 4, searches.search_models: 4, searches.search_versions: 4,
    datasets.create_dataset: 0.7, datasets.get_dataset: 0.7, datasets.search_datasets: 1, datasets.tag_dataset: 0.5, datasets.untag_dataset: 0.3,
    datasets.add_records: 0.7, datasets.get_records: 0.7, datasets.delete_records: 0.2, datasets.dataset_experiments: 0.4, datasets.move_dataset: 0.3,
    datasets.delete_dataset: 0.2, datasets.put_file: 1.5, datasets.get_file: 1, datasets.delete_file: 0.4, datasets.list_files: 1.5, datasets.list_folder: 0.5,
    webhooks.create_webhook: 3, webhooks.get_webhook: 2, webhooks.list_webhooks: 2, webhooks.update_webhook: 3, webhooks.delete_webhook: 1,
    not_json: 0.5,
}
START = [tracking.create_run, tracking.create_run, tracking.create_run, models.create_version, models.create_version, models.create_logged_model,
         datasets.create_dataset, webhooks.create_webhook, webhooks.create_webhook]


def sequence(seed, calls):
    return Sequence(seed, calls, START, WEIGHTS)
