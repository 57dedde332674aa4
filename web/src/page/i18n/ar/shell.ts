import type { Words } from "../words.ts";

export const shell: Words["shell"] = {
  close: "إغلاق",
  newChat: "محادثة جديدة",
  menu: "المحادثات",
  settings: "الإعدادات",
  models: "النماذج",
  chooseModel: "اختر نموذجًا",
  modelNow: (name) => `النموذج: ${name}. اختر نموذجًا آخر`,
  noModel: "لا يوجد نموذج",
  skip: "انتقل إلى المحادثة",
  updateReady: "يتوفر إصدار جديد.",
  updateNow: "استخدمه في كل علامات التبويب",
  importedModel: "نموذج مستورد",
};
