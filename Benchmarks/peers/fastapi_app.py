"""What a team writes by hand: uvicorn --factory fastapi_app:app."""
from fastapi import FastAPI
from pydantic import BaseModel

from one_model import Model


class Question(BaseModel):
    rows: list[list[float]]


def app():
    routes, model = FastAPI(), Model()

    @routes.get("/health")
    async def health():
        return {"status": "ok"}

    @routes.post("/predict")
    async def predict(question: Question):
        return {"predictions": model.predict(question.rows).tolist()}

    return routes
